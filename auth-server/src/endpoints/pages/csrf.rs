//! Forged forms ([RFC 9700 section 4.7](https://www.rfc-editor.org/rfc/rfc9700#section-4.7)): a token bound to the browser's cookie decides.
//!
//! `Origin` and `Sec-Fetch-Site` are looked at besides. Absent or `null` they are no fault: our own policy of sending no referrer makes
//! browsers send `null`.

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, ORIGIN};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::cookies::Browser;
use crate::app::App;
use crate::domain::secret::constant_time_eq;
use crate::error::PageFault;
use crate::log_format::security_event;
use crate::params::{Params, client_address};

/// The form field that carries the token.
pub const FIELD: &str = "csrf";

/// The token for one form in one browser. `form` names the page, and what it was shown for where that may change meanwhile.
pub fn token(app: &App, browser: &Browser, form: &str) -> String {
    token_of(app, browser.id(), form)
}

fn token_of(app: &App, id: &str, form: &str) -> String {
    URL_SAFE_NO_PAD.encode(app.vault.mac("csrf", format!("{id}\n{form}").as_bytes()))
}

/// Whether the form that was sent is the one that we showed in this browser.
pub fn check(
    app: &App,
    request: &HttpRequest,
    browser: &Browser,
    form: &str,
    params: &Params,
) -> Result<(), PageFault> {
    why_forged(app, request, browser, form, params).map_err(|cause| {
        // The kind of form alone: what may stand behind it in its name is a session.
        let kind = form.lines().next().unwrap_or_default();
        let address = client_address(request);
        security_event("form_forged", &[("form", &kind), ("cause", &cause), ("client", &address)]);
        app.metrics.count_event("form_forged");
        PageFault::Forged(cause)
    })
}

fn why_forged(
    app: &App,
    request: &HttpRequest,
    browser: &Browser,
    form: &str,
    params: &Params,
) -> Result<(), &'static str> {
    check_headers(request.headers(), &app.settings.issuer.origin())?;
    let sent = params.get(FIELD).ok_or("there is no token")?;
    let is_sent = |id| constant_time_eq(sent.as_bytes(), token_of(app, id, form).as_bytes());
    if browser.ids().any(is_sent) { Ok(()) } else { Err("the token is not this browser's") }
}

/// What browsers say about where a form comes from, as far as they say it.
fn check_headers(headers: &HeaderMap, origin: &str) -> Result<(), &'static str> {
    let is = |name: &str, allowed: &[&str]| {
        headers
            .get_all(name)
            .all(|value| allowed.iter().any(|allowed| value.as_bytes() == allowed.as_bytes()))
    };
    if !is(ORIGIN.as_str(), &["null", origin]) {
        return Err("another origin sent it");
    }
    if !is("sec-fetch-site", &["same-origin"]) {
        return Err("another site sent it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn headers_that_name_somebody_else_refuse_and_absent_ones_do_not() {
        let ours = "https://id.example";
        for (headers, good) in [
            (&[][..], true),
            (&[("origin", "null")], true),
            (&[("origin", ours)], true),
            (&[("origin", "null"), ("sec-fetch-site", "same-origin")], true),
            (&[("origin", "https://evil.example")], false),
            (&[("origin", "https://id.example.evil.example")], false),
            (&[("origin", "http://id.example")], false),
            (&[("origin", ours), ("origin", "https://evil.example")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("origin", ours), ("sec-fetch-site", "cross-site")], false),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            assert_eq!(check_headers(&map, ours).is_ok(), good, "{headers:?}");
        }
    }
}
