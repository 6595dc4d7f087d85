//! A real Chromium, driven through WebDriver: what a person sees, with screenshots to look at afterwards.

use std::collections::BTreeSet;
use std::fmt;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::extensions::query::ElementQueryable as _;
use thirtyfour::{
    By, ChromiumLikeCapabilities as _, DesiredCapabilities, LoggingPrefsLogLevel, TypingData,
    WebDriver, WebElement,
};
use url::Url;

use crate::http::Http;
use crate::processes::free_port;

/// Flags for a browser that runs without a screen, as root, in a container, and asks nothing of the internet.
const FLAGS: [&str; 12] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--window-size=1280,900",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
];

/// How a window looks at a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Its width in CSS pixels.
    pub width: u32,
    /// Its height in CSS pixels.
    pub height: u32,
    /// Whether the person prefers dark pages.
    pub dark: bool,
    /// Whether it is a phone.
    pub phone: bool,
}

/// A browser window of its own, with a profile of its own.
pub struct Chromium {
    /// The session, for what has no verb here.
    pub driver: WebDriver,
    process: Driver,
    profile: TempDir,
}

impl fmt::Debug for Chromium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chromium").field("profile", &self.profile.path()).finish_non_exhaustive()
    }
}

/// The `ChromeDriver` process; killed when dropped, and its browsers with it.
#[derive(Debug)]
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Chromium {
    /// Starts a browser, or says which program is missing. Any other failure stops the case: a browser that is there
    /// and does not start is a fault, not an excuse.
    pub async fn start(extra_flags: &[&str]) -> Result<Self, String> {
        let binary = in_path("chromium").ok_or("chromium is not in PATH")?;
        let driver = in_path("chromedriver").ok_or("chromedriver is not in PATH")?;
        let mut child = Command::new(driver)
            // With port 0 it takes one that is free for IPv6 and gives up when that is taken for IPv4.
            .args([&format!("--port={}", free_port()), "--log-level=SEVERE"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let process = Driver(child);
        let port = tokio::task::spawn_blocking(move || announced_port(BufReader::new(stdout)))
            .await
            .unwrap()
            .expect("chromedriver says its port");
        let profile = tempfile::tempdir().unwrap();
        let mut capabilities = DesiredCapabilities::chrome();
        capabilities.set_binary(binary.to_str().unwrap()).unwrap();
        let folder = format!("--user-data-dir={}", profile.path().display());
        for flag in FLAGS.iter().chain(extra_flags).chain([&folder.as_str()]) {
            capabilities.add_arg(flag).unwrap();
        }
        // The console, and beneath "performance" every request that any page makes.
        for log in ["browser", "performance"] {
            capabilities.set_logging_prefs(log, LoggingPrefsLogLevel::All).unwrap();
        }
        let driver = WebDriver::builder(format!("http://127.0.0.1:{port}"), capabilities)
            .client(Http::new().into_inner())
            .await
            .expect("chromium starts");
        Ok(Self { driver, process, profile })
    }

    /// Opens a page and waits until it is loaded.
    pub async fn open(&self, url: &str) {
        self.driver.goto(url).await.unwrap();
    }

    /// The address bar.
    pub async fn url(&self) -> String {
        self.driver.current_url().await.unwrap().to_string()
    }

    /// The element that the CSS selector finds; waits up to the driver's patience (20 s) for it to come.
    pub async fn find(&self, css: &str) -> WebElement {
        let found = self.driver.query(By::Css(css)).first().await;
        match found {
            Ok(element) => element,
            Err(fault) => panic!(
                "no {css} at {}: {fault}\n{}",
                self.url().await,
                self.driver.source().await.unwrap_or_default()
            ),
        }
    }

    /// Whether the page has such an element now.
    pub async fn has(&self, css: &str) -> bool {
        let query = self.driver.query(By::Css(css)).nowait();
        query.exists().await.unwrap()
    }

    /// Types into a field, as hands on a keyboard would.
    pub async fn write(&self, css: &str, text: &str) {
        let field = self.find(css).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Clicks.
    pub async fn click(&self, css: &str) {
        self.find(css).await.click().await.unwrap();
    }

    /// Presses keys in whatever has the focus.
    pub async fn press(&self, keys: impl Into<TypingData>) {
        self.driver.action_chain().send_keys(keys).perform().await.unwrap();
    }

    /// The `id` of the element that has the focus.
    pub async fn focused(&self) -> String {
        let element = self.driver.active_element().await.unwrap();
        element.id().await.unwrap().unwrap_or_default()
    }

    /// What a script says that looks at the page; it ends with `return`.
    pub async fn script(&self, script: &str) -> Value {
        self.driver.execute(script, Vec::new()).await.unwrap().json().clone()
    }

    /// Switches JavaScript off for every page of this tab.
    pub async fn forbid_scripts(&self) {
        self.command("Emulation.setScriptExecutionDisabled", json!({ "value": true })).await;
    }

    /// Looks at this and all later pages of this tab in another way.
    pub async fn look(&self, look: Look) {
        let size = json!({
            "width": look.width, "height": look.height, "deviceScaleFactor": 1, "mobile": look.phone,
        });
        self.command("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = if look.dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.command("Emulation.setEmulatedMedia", media).await;
    }

    /// The value of a cookie that the current page's server would be sent.
    pub async fn cookie(&self, name: &str) -> Option<thirtyfour::Cookie> {
        let cookies = self.driver.get_all_cookies().await.unwrap();
        cookies.into_iter().find(|cookie| cookie.name == name)
    }

    async fn command(&self, method: &str, params: Value) -> Value {
        self.driver.cdp().send_raw(method, params).await.unwrap()
    }

    /// The origins that were asked for anything since this was asked last.
    pub async fn origins(&self) -> BTreeSet<String> {
        let log = self.driver.get_log("performance").await.unwrap();
        log.iter().filter_map(|entry| requested(&entry.message)).collect()
    }

    /// What the console has complained about since this was asked last: errors of scripts, violations of a content
    /// security policy. That a page came with the status of an error is no complaint; cases look at statuses themselves.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.driver.browser_log().await.unwrap();
        let status = "Failed to load resource: the server responded with a status of";
        log.into_iter()
            .map(|entry| entry.message)
            .filter(|message| !message.contains(status))
            .collect()
    }

    /// Keeps a picture of the whole page, also of what one has to scroll to, as `target/screenshots/NAME.png`.
    pub async fn screenshot(&self, name: &str) -> PathBuf {
        let layout = self.command("Page.getLayoutMetrics", json!({})).await;
        let mut clip = layout["cssContentSize"].clone();
        clip["scale"] = json!(1);
        let wanted = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let picture = self.command("Page.captureScreenshot", wanted).await;
        let picture = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        let folder = screenshots();
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{name}.png"));
        std::fs::write(&file, picture).unwrap();
        file
    }

    /// Closes the browser; without it the browser is killed together with its driver.
    pub async fn quit(self) {
        self.driver.clone().quit().await.unwrap();
        drop(self.process);
    }
}

/// Where pictures go: beside the build, wherever that is.
pub fn screenshots() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
        PathBuf::from,
    );
    target.join("screenshots")
}

fn in_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// The origin of a request in a line of the performance log, if the line is of a request over a network.
fn requested(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).unwrap();
    let event = &line["message"];
    if event["method"] != "Network.requestWillBeSent" {
        return None;
    }
    let url = Url::parse(event["params"]["request"]["url"].as_str()?).ok()?;
    // The browser's own first page (chrome:) and data: URLs come from nowhere.
    matches!(url.scheme(), "http" | "https").then(|| url.origin().ascii_serialization())
}

/// Reads until the driver says "… was started successfully on port N."
fn announced_port(output: impl std::io::BufRead) -> Option<u16> {
    output.lines().map_while(Result::ok).find_map(|line| {
        let (_, port) = line.rsplit_once("started successfully on port ")?;
        port.trim_end_matches('.').parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_the_drivers_own_words() {
        let said = "Starting ChromeDriver 1.2 on port 0\nOnly local connections are allowed.\nChromeDriver was started successfully on port 41000.\n";
        assert_eq!(announced_port(&mut said.as_bytes()), Some(41_000));
    }
}
