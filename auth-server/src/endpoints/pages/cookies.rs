//! Our cookies ([RFC 6265](https://www.rfc-editor.org/rfc/rfc6265)): names, attributes, and what each of them proves.
//!
//! Cookies ignore ports, so the names say which server they belong to; two servers on localhost do not sign each other out. On https
//! the prefix `__Host-` keeps neighboring hosts from planting one
//! ([RFC 6265bis section 4.1.3.2](https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#name-the-__host-prefix)).

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::{COOKIE, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared_types::UnixSeconds;

use crate::app::App;
use crate::domain::account::Account;
use crate::domain::secret::constant_time_eq;

/// The session: selector and verifier.
pub const SESSION: &str = "as_session";
/// The browser: a random value that outlives a change of session, so that other tabs go on.
const BROWSER: &str = "as_browser";
/// The accounts that have signed in here before, signed by us.
const KNOWN: &str = "as_known";

/// How many accounts one browser remembers.
const MAX_KNOWN: usize = 5;
/// How many cookies of one name are looked at.
const MAX_SAME: usize = 8;
/// Bytes of a random identifier.
const ID_BYTES: usize = 16;

/// The values of one of our cookies, in the order in which the browser sent them: one, if nobody meddled.
///
/// Several programs may set cookies for one host: on localhost every port, over http a neighboring domain. What they set under other
/// names is passed over, also where it cannot be read as text. What they set under *our* name stands beside our own cookie, and "servers
/// SHOULD NOT rely upon the serialization order" ([RFC 6265 section 4.2.2](https://www.rfc-editor.org/rfc/rfc6265#section-4.2.2)): so
/// none is believed for its place. Whoever asks here looks at all of them and takes what proves itself.
pub fn values(app: &App, request: &HttpRequest, name: &str) -> Vec<String> {
    let headers = request.headers().get_all(COOKIE).map(HeaderValue::as_bytes);
    named(headers, &full_name(app, name))
}

/// The header is split by bytes. Only blanks and tabs are trimmed: a name that looks like ours after a trim of other white space is
/// how a cookie without the prefix would pretend to have it.
fn named<'a>(headers: impl Iterator<Item = &'a [u8]>, name: &str) -> Vec<String> {
    headers
        .flat_map(|header| header.split(|byte| *byte == b';'))
        .filter_map(|pair| {
            let equals = pair.iter().position(|byte| *byte == b'=')?;
            let (found, value) = pair.split_at_checked(equals)?;
            if trim(found) != name.as_bytes() {
                return None;
            }
            let value = std::str::from_utf8(trim(value.get(1..)?)).ok()?;
            value.bytes().all(is_ours).then(|| value.to_owned())
        })
        .take(MAX_SAME)
        .collect()
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Our values are base64url and dots.
const fn is_ours(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
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
///
/// Where somebody planted a cookie of the same name, each of the values is this browser's: to choose one would let the planted one turn
/// every form away. Whoever planted it knows the tokens that go with it, and still cannot send a form: it comes from another origin,
/// and browsers say so.
#[derive(Clone)]
pub struct Browser {
    ids: Vec<String>,
    is_new: bool,
}

impl Browser {
    /// The browser that sent `request`, or a new one, whose cookie then has to be set.
    pub fn of(app: &App, request: &HttpRequest) -> Self {
        let mut ids = values(app, request, BROWSER);
        ids.retain(|id| URL_SAFE_NO_PAD.decode(id).is_ok_and(|id| id.len() == 2 * ID_BYTES));
        let is_new = ids.is_empty();
        if is_new {
            ids.push(URL_SAFE_NO_PAD.encode(app.random_bytes::<{ 2 * ID_BYTES }>()));
        }
        Self { ids, is_new }
    }

    /// The random value: what CSRF tokens are bound to.
    pub fn id(&self) -> &str {
        self.ids.first().map_or("", String::as_str)
    }

    /// All values that are this browser's.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.ids.iter().map(String::as_str)
    }

    /// What a sealed request remembers of the browser: enough to know it again, useless as a cookie.
    pub fn tag(&self, app: &App) -> String {
        tag(app, self.id())
    }

    /// Whether a sealed request remembers this browser.
    pub fn has_tag(&self, app: &App, remembered: &str) -> bool {
        self.ids().any(|id| tag(app, id) == remembered)
    }

    /// The cookie, if the browser does not have it yet.
    pub fn cookie(&self, app: &App) -> Option<Cookie<'static>> {
        self.is_new.then(|| cookie(app, BROWSER, self.id().to_owned()))
    }
}

fn tag(app: &App, id: &str) -> String {
    URL_SAFE_NO_PAD.encode(app.vault.mac("browser", id.as_bytes()))
}

/// The accounts that have signed in with this browser: what each cookie of the name says.
///
/// A planted one does no harm beside our own: it proves nothing about an account that its planter cannot sign in to.
#[derive(Debug)]
pub struct KnownAccounts(Vec<KnownBrowser>);

/// An identifier of the browser, and a signed line for each account.
#[derive(Debug)]
struct KnownBrowser {
    id: String,
    lines: Vec<String>,
}

impl KnownAccounts {
    /// What the browser sent, its signatures still unproven.
    pub fn of(app: &App, request: &HttpRequest) -> Self {
        let sent = values(app, request, KNOWN);
        Self(sent.iter().filter_map(|value| KnownBrowser::read(value)).collect())
    }

    /// The browser's identifier, if we signed that the person has signed in here, and not too long ago, and neither the password nor
    /// the account's state changed since.
    pub fn knows(&self, app: &App, account: &Account, now: UnixSeconds) -> Option<&str> {
        self.0
            .iter()
            .find(|browser| browser.knows(app, account, now))
            .map(|known| known.id.as_str())
    }

    /// The cookie after the person has signed in: this account first, the oldest ones forgotten.
    pub fn remembering(
        mut self,
        app: &App,
        account: &Account,
        now: UnixSeconds,
    ) -> Cookie<'static> {
        let known = self.0.iter().position(|browser| browser.knows(app, account, now));
        let mut browser = if self.0.is_empty() {
            let id = URL_SAFE_NO_PAD.encode(app.random_bytes::<ID_BYTES>());
            KnownBrowser { id, lines: Vec::new() }
        } else {
            self.0.swap_remove(known.unwrap_or_default())
        };
        let lifetime = app.settings.lifetimes.known_browser;
        browser.remember(app, account, now, lifetime);
        let value = format!("{}.{}", browser.id, browser.lines.join("."));
        let mut cookie = cookie(app, KNOWN, value);
        cookie.set_max_age(Duration::seconds(lifetime));
        cookie
    }
}

impl KnownBrowser {
    fn read(value: &str) -> Option<Self> {
        let mut parts = value.split('.').map(str::to_owned);
        let id = parts
            .next()
            .filter(|id| URL_SAFE_NO_PAD.decode(id).is_ok_and(|id| id.len() == ID_BYTES))?;
        Some(Self { id, lines: parts.take(MAX_KNOWN).collect() })
    }

    fn remember(&mut self, app: &App, account: &Account, now: UnixSeconds, lifetime: i64) {
        let before = std::mem::take(&mut self.lines);
        let others = before.into_iter().filter(|line| !self.proves(app, line, account, now));
        let mine = self.line(app, account, now.plus(lifetime));
        self.lines = std::iter::once(mine).chain(others).take(MAX_KNOWN).collect();
    }

    /// base64url(expiry ‖ MAC(browser, subject, epoch, expiry)).
    ///
    /// The account's epoch moves when its password is set and when it is disabled: whoever signed in before that, perhaps a thief, is a
    /// stranger again.
    fn line(&self, app: &App, account: &Account, expires_at: UnixSeconds) -> String {
        let (subject, epoch) = (&account.subject, account.epoch);
        let message = format!("{}\n{subject}\n{epoch}\n{expires_at}", self.id);
        let mut line = expires_at.as_i64().to_be_bytes().to_vec();
        line.extend_from_slice(&app.vault.mac("known browser", message.as_bytes()));
        URL_SAFE_NO_PAD.encode(line)
    }

    fn knows(&self, app: &App, account: &Account, now: UnixSeconds) -> bool {
        self.lines.iter().any(|line| self.proves(app, line, account, now))
    }

    fn proves(&self, app: &App, line: &str, account: &Account, now: UnixSeconds) -> bool {
        let bytes = URL_SAFE_NO_PAD.decode(line).unwrap_or_default();
        let Some((expiry, _)) = bytes.split_first_chunk::<8>() else {
            return false;
        };
        let expires_at = UnixSeconds::new(i64::from_be_bytes(*expiry));
        !now.has_reached(expires_at)
            && constant_time_eq(self.line(app, account, expires_at).as_bytes(), line.as_bytes())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[&[u8]]) -> Vec<String> {
        named(headers.iter().copied(), "as_session")
    }

    #[test]
    fn a_cookie_is_found_among_those_of_others() {
        for header in [
            &b"as_session=abc"[..],
            b"a=1; as_session=abc; b=2",
            b"a=1;as_session=abc;b=2",
            b" \tas_session = abc\t ",
            b"a; ; =; ==; as_session=abc; as_session",
            b"theme=\xff\xfe; as_session=abc",
            b"\xff=\xff;as_session=abc;\xff",
            b"a=\"x; as_session=abc",
            b"a=%ff%; as_session=abc",
        ] {
            assert_eq!(of(&[header]), ["abc"], "{}", header.escape_ascii());
        }
        // HTTP/2 may send each pair in a field of its own (RFC 9113 section 8.2.3).
        assert_eq!(of(&[b"theme=\xff", b"as_session=abc"]), ["abc"]);
    }

    #[test]
    fn nothing_but_the_very_name_is_ours_and_nothing_but_our_letters_its_value() {
        for header in [
            &b""[..],
            b"as_session",
            b"AS_SESSION=abc",
            b"as_sessio=abc",
            b"as_session2=abc",
            b"x=as_session=abc",
            b"\x0bas_session=abc",
            "\u{a0}as_session=abc".as_bytes(),
            "\u{2000}as_session=abc".as_bytes(),
            b"as_session=\"abc\"",
            b"as_session=a b",
            b"as_session=a=",
            b"as_session=\xff",
            b"as_session=%61",
        ] {
            assert_eq!(of(&[header]), [""; 0], "{}", header.escape_ascii());
        }
    }

    #[test]
    fn of_several_all_are_told_in_order_up_to_a_bound() {
        assert_eq!(
            of(&[b"as_session=a; as_session=\xff; as_session=b", b"as_session=c"]),
            ["a", "b", "c"]
        );
        let many = b"as_session=a;".repeat(100);
        assert_eq!(of(&[&many]).len(), MAX_SAME);
    }
}
