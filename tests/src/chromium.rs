//! A real Chromium, driven through WebDriver: what a person sees, with screenshots to look at afterwards.

use std::fmt;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use thirtyfour::extensions::query::ElementQueryable as _;
use thirtyfour::{By, ChromiumLikeCapabilities as _, DesiredCapabilities, WebDriver, WebElement};

use crate::http::Http;

/// Flags for a browser that runs without a screen, as root, in a container, and asks nothing of the internet.
const FLAGS: [&str; 11] = [
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
];

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
            .args(["--port=0", "--log-level=SEVERE"])
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

    /// Keeps a picture of the window as `target/screenshots/NAME.png`.
    pub async fn screenshot(&self, name: &str) -> PathBuf {
        let folder = screenshots();
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{name}.png"));
        self.driver.screenshot(&file).await.unwrap();
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
