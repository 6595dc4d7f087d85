//! A real browser against real pages.

mod demo;
mod looks;
mod pages;
mod scripts;

use tests::chromium::Chromium;
use tests::client::{Client, Pending};
use tests::landing::{Landed, Landing};
use tests::seed;
use tests::skip::skip;
use tests::world::{ALICE, SECRET, World};

/// Both servers, a client that waits for the browser, and the browser.
struct Stage {
    world: World,
    landing: Landing,
    browser: Chromium,
}

impl Stage {
    /// Sets the stage for `case`, which is skipped where there is no Chromium.
    async fn open(case: &str) -> Option<Self> {
        let browser = match Chromium::start(&[]).await {
            Ok(browser) => browser,
            Err(why) => {
                skip(case, &why);
                return None;
            }
        };
        let (world, landing) = (World::start().await, Landing::start().await);
        seed::declare(&world.auth, &clients(&landing.url)).await;
        Some(Self { world, landing, browser })
    }

    /// The client that waits at the landing.
    fn client(&self) -> Client {
        Client::new(&self.world.auth.issuer, "shop", SECRET, &self.landing.url)
    }

    fn request(&self, tag: &str) -> Pending {
        self.client().begin("openid documents:read documents:write", tag)
    }

    /// Opens an authorization request of the client.
    async fn begin(&self, tag: &str) -> Pending {
        let pending = self.request(tag);
        self.browser.open(&pending.url()).await;
        pending
    }

    /// Alice fills in the sign-in form with the mouse.
    async fn sign_in(&self) {
        self.browser.write("#username", ALICE.0).await;
        self.browser.write("#password", ALICE.1).await;
        self.browser.click("#login-submit").await;
    }

    /// Waits until the browser is back at the client; what it brought answers `pending`, from our issuer.
    async fn landed(&self, pending: &Pending) -> Landed {
        self.browser.find("#landed").await;
        let landed = self.landing.arrivals().pop().unwrap();
        assert_eq!(landed.get("state"), pending.state);
        assert_eq!(landed.get("iss"), self.world.auth.issuer);
        landed
    }

    /// The client redeems what landed.
    async fn redeems(&self, landed: &Landed, pending: &Pending) {
        let client = self.client();
        let tokens = client.redeem(landed.get("code"), pending).await.expect(200);
        let documents = self.world.documents(&tokens.member("access_token"));
        documents.list("").await.expect(200);
    }

    /// Ends the case: no page asked anybody else for anything, and the console has nothing to complain about.
    async fn close(self) {
        let client = self.landing.url.trim_end_matches("/callback");
        clean(&self.browser, &[&self.world.auth.issuer, client]).await;
        self.browser.quit().await;
    }
}

/// Two clients that wait at `landing`: one with nothing but a name, the other with all that a page can show.
fn clients(landing: &str) -> String {
    let client = |id: &str, name: &str, more: &str| {
        format!(
            r#"
[[client]]
client_id = "{id}"
client_name = "{name}"
redirect_uris = ["{landing}"]
client_secret = "{SECRET}"
scope = "openid profile email offline_access documents:read documents:write documents:share"
{more}
"#
        )
    };
    let links = r#"
client_uri = "https://garden.example/"
logo_uri = "https://garden.example/logo.png"
policy_uri = "https://garden.example/privacy"
tos_uri = "https://garden.example/terms""#;
    let long = "Gardenmaster & Daughters, purveyors of Donaudampfschiffahrtsgesellschaftsbedarf";
    [client("shop", "The Shop", ""), client("garden", long, links)].concat()
}

/// Demands that nothing outside `origins` was asked for anything, and that no policy was violated.
async fn clean(browser: &Chromium, origins: &[&str]) {
    let asked = browser.origins().await;
    assert!(!asked.is_empty(), "the log of requests is kept");
    for origin in asked {
        assert!(origins.contains(&origin.as_str()), "{origin} was asked for something");
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_harness_drives_a_real_browser_and_hears_what_it_complains_about() {
    let browser = match Chromium::start(&[]).await {
        Ok(browser) => browser,
        Err(why) => return skip("the_harness_drives_a_real_browser", &why),
    };
    let page = "<!doctype html><title>t</title><input id=name><p id=said>hello";
    browser.open(&format!("data:text/html,{page}")).await;
    browser.write("#name", "alice").await;
    let said = browser.find("#said").await.text().await.unwrap();
    assert_eq!(said, "hello");
    assert!(!browser.has("#absent").await);
    let picture = browser.screenshot("harness").await;
    assert!(std::fs::metadata(picture).unwrap().len() > 1_000);
    assert_eq!(browser.complaints().await, Vec::<String>::new());

    // What other cases demand the absence of is noticed when it is there.
    let policy = "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'\">";
    let image = "<img src=http://elsewhere.example/dot.png><p id=done>done";
    browser.open(&format!("data:text/html,{policy}{image}")).await;
    browser.find("#done").await;
    let complaints = browser.complaints().await;
    assert!(
        complaints.iter().any(|said| said.contains("Content Security Policy")),
        "{complaints:?}"
    );
    browser.open(&format!("data:text/html,{image}")).await;
    browser.find("#done").await;
    assert!(browser.origins().await.contains("http://elsewhere.example"));
    browser.quit().await;
}
