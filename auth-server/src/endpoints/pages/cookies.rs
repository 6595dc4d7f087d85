//! Our cookies ([RFC 6265](https://www.rfc-editor.org/rfc/rfc6265)): names, attributes, and what each of them proves.
//!
//! Cookies ignore ports, so the names say which server they belong to; two servers on localhost do not sign each other out. On https
//! the prefix `__Host-` keeps neighboring hosts from planting one
//! ([RFC 6265bis section 4.1.3.2](https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#name-the-__host-prefix)).

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared_types::{Subject, UnixSeconds};

use crate::app::App;
use crate::domain::secret::constant_time_eq;

/// The session: selector and verifier.
pub const SESSION: &str = "as_session";
/// The browser: a random value that outlives a change of session, so that other tabs go on.
const BROWSER: &str = "as_browser";
/// The accounts that have signed in here before, signed by us.
const KNOWN: &str = "as_known";

/// How many accounts one browser remembers.
const MAX_KNOWN: usize = 5;
/// Bytes of a random identifier.
const ID_BYTES: usize = 16;

/// The value of one of our cookies, if the browser sent exactly one of that name: with two nobody knows which is ours.
pub fn value(app: &App, request: &HttpRequest, name: &str) -> Option<String> {
    let name = full_name(app, name);
    let cookies = request.cookies().ok()?;
    let mut values = cookies
        .iter()
        .filter(|cookie| cookie.name() == name)
        .map(|cookie| cookie.value().to_owned());
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// The cookie of a session: gone when the browser closes.
pub fn session(app: &App, value: String) -> Cookie<'static> {
    cookie(app, SESSION, value)
}

/// The cookie that makes the browser forget its session.
pub fn no_session(app: &App) -> Cookie<'static> {
    let mut cookie = cookie(app, SESSION, String::new());
    cookie.set_max_age(Duration::ZERO);
    cookie
}

/// Which browser this is.
#[derive(Clone)]
pub struct Browser {
    id: String,
    is_new: bool,
}

impl Browser {
    /// The browser that sent `request`, or a new one, whose cookie then has to be set.
    pub fn of(app: &App, request: &HttpRequest) -> Self {
        let sent = value(app, request, BROWSER)
            .filter(|id| URL_SAFE_NO_PAD.decode(id).is_ok_and(|id| id.len() == 2 * ID_BYTES));
        match sent {
            Some(id) => Self { id, is_new: false },
            None => Self {
                id: URL_SAFE_NO_PAD.encode(app.random_bytes::<{ 2 * ID_BYTES }>()),
                is_new: true,
            },
        }
    }

    /// The random value: what CSRF tokens are bound to.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What a sealed request remembers of the browser: enough to know it again, useless as a cookie.
    pub fn tag(&self, app: &App) -> String {
        URL_SAFE_NO_PAD.encode(app.vault.mac("browser", self.id.as_bytes()))
    }

    /// The cookie, if the browser does not have it yet.
    pub fn cookie(&self, app: &App) -> Option<Cookie<'static>> {
        self.is_new.then(|| cookie(app, BROWSER, self.id.clone()))
    }
}

/// The accounts that have signed in with this browser: an identifier of the browser, and a signed line for each.
#[derive(Debug)]
pub struct KnownAccounts {
    browser: String,
    lines: Vec<String>,
}

impl KnownAccounts {
    /// What the browser sent, its signatures still unproven.
    pub fn of(app: &App, request: &HttpRequest) -> Self {
        let sent = value(app, request, KNOWN).unwrap_or_default();
        let mut parts = sent.split('.').map(str::to_owned);
        let browser = parts
            .next()
            .filter(|id| URL_SAFE_NO_PAD.decode(id).is_ok_and(|id| id.len() == ID_BYTES));
        match browser {
            Some(browser) => Self { browser, lines: parts.take(MAX_KNOWN).collect() },
            None => Self {
                browser: URL_SAFE_NO_PAD.encode(app.random_bytes::<ID_BYTES>()),
                lines: Vec::new(),
            },
        }
    }

    /// The browser's identifier, if we signed that `subject` has signed in here, and not too long ago.
    pub fn knows(&self, app: &App, subject: &Subject, now: UnixSeconds) -> Option<&str> {
        let known = self.lines.iter().any(|line| self.proves(app, line, subject, now));
        known.then_some(self.browser.as_str())
    }

    /// The cookie after `subject` has signed in: this account first, the oldest ones forgotten.
    pub fn remembering(
        mut self,
        app: &App,
        subject: &Subject,
        now: UnixSeconds,
    ) -> Cookie<'static> {
        let lifetime = app.settings.lifetimes.known_browser;
        let before = std::mem::take(&mut self.lines);
        let others = before.into_iter().filter(|line| !self.proves(app, line, subject, now));
        let mine = self.line(app, subject, now.plus(lifetime));
        self.lines = std::iter::once(mine).chain(others).take(MAX_KNOWN).collect();
        let mut cookie = cookie(app, KNOWN, format!("{}.{}", self.browser, self.lines.join(".")));
        cookie.set_max_age(Duration::seconds(lifetime));
        cookie
    }

    /// base64url(expiry ‖ MAC(browser, subject, expiry)).
    fn line(&self, app: &App, subject: &Subject, expires_at: UnixSeconds) -> String {
        let message = format!("{}\n{subject}\n{expires_at}", self.browser);
        let mut line = expires_at.as_i64().to_be_bytes().to_vec();
        line.extend_from_slice(&app.vault.mac("known browser", message.as_bytes()));
        URL_SAFE_NO_PAD.encode(line)
    }

    fn proves(&self, app: &App, line: &str, subject: &Subject, now: UnixSeconds) -> bool {
        let bytes = URL_SAFE_NO_PAD.decode(line).unwrap_or_default();
        let Some((expiry, _)) = bytes.split_first_chunk::<8>() else {
            return false;
        };
        let expires_at = UnixSeconds::new(i64::from_be_bytes(*expiry));
        !now.has_reached(expires_at)
            && constant_time_eq(self.line(app, subject, expires_at).as_bytes(), line.as_bytes())
    }
}

fn full_name(app: &App, name: &str) -> String {
    if app.settings.issuer.is_https() { format!("__Host-{name}") } else { name.to_owned() }
}

fn cookie(app: &App, name: &str, value: String) -> Cookie<'static> {
    Cookie::build(full_name(app, name), value)
        .path("/")
        .secure(app.settings.issuer.is_https())
        .http_only(true)
        .same_site(SameSite::Lax)
        .finish()
}
