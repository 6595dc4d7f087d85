//! The answer to the client, through the browser: a redirect or a form that posts itself
//! ([RFC 6749 section 4.1.2](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2), [RFC 9207](https://www.rfc-editor.org/rfc/rfc9207)).
//!
//! Redirects are 303 everywhere: 307 would make the browser post a password on to the client
//! ([RFC 9700 section 4.12](https://www.rfc-editor.org/rfc/rfc9700#section-4.12)).

use std::fmt::Display;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY};
use shared_types::{ClientId, ErrorCode};
use url::form_urlencoded::Serializer;

use super::page;
use crate::app::App;
use crate::domain::authorization_request::{RedirectFault, ReplyTo, ResponseMode};
use crate::domain::client::Client;
use crate::domain::secret::PlainSecret;
use crate::error::PageFault;
use crate::log_format::security_event;

/// Hands out a code.
pub fn code(
    app: &App,
    client_name: &str,
    reply_to: &ReplyTo,
    code: &PlainSecret,
) -> Result<HttpResponse, PageFault> {
    send(app, client_name, reply_to, &[("code", code.expose())])
}

/// Tells the client what is wrong.
pub fn error(
    app: &App,
    client: &Client,
    reply_to: &ReplyTo,
    fault: RedirectFault,
) -> Result<HttpResponse, PageFault> {
    let code = fault.code().as_str();
    write_down(app, Some(client.id()), fault.code(), &fault);
    app.metrics.count_refused(code);
    send(
        app,
        client.name(),
        reply_to,
        &[("error", code), ("error_description", &fault.to_string())],
    )
}

/// Puts a refused authorization request into the security log. Only a registered client whose redirect URI was proven is named: before
/// that anybody may have written the request.
pub fn write_down(app: &App, client: Option<&ClientId>, error: ErrorCode, cause: &dyn Display) {
    let code = error.as_str();
    let mut fields: Vec<(&'static str, &dyn Display)> = vec![("error", &code), ("cause", cause)];
    fields.extend(client.map(|id| ("client_id", id as &dyn Display)));
    security_event("authorization_refused", &fields);
    app.metrics.count_event("authorization_refused");
}

/// A 303 to `location`.
pub fn see_other(location: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((LOCATION, location))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .finish()
}

fn send(
    app: &App,
    client_name: &str,
    reply_to: &ReplyTo,
    what: &[(&str, &str)],
) -> Result<HttpResponse, PageFault> {
    let mut params = what.to_vec();
    if let Some(state) = &reply_to.state {
        params.push(("state", state));
    }
    // "an authorization server [..] MUST indicate its identity by including the iss parameter in the response", also in errors, so
    // that a client with several servers cannot be made to take one's code to another (RFC 9700 section 4.4).
    params.push(("iss", app.settings.issuer.as_str()));
    match reply_to.mode {
        ResponseMode::Query => Ok(see_other(&with_query(&reply_to.redirect_uri, &params))),
        ResponseMode::FormPost => {
            page::form_post(app, client_name, &reply_to.redirect_uri, &params)
        }
    }
}

/// `uri` with `params` behind the query it has: "the query component [..] MUST be retained" (RFC 6749 section 3.1.2).
pub fn with_query(uri: &str, params: &[(&str, &str)]) -> String {
    if params.is_empty() {
        return uri.to_owned();
    }
    let separator = match uri.split_once('?') {
        None => "?",
        Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    };
    let query = Serializer::new(String::new()).extend_pairs(params).finish();
    format!("{uri}{separator}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_of_a_redirect_uri_is_kept() {
        let params = [("code", "a b"), ("state", "ä&=")];
        let sent = "code=a+b&state=%C3%A4%26%3D";
        for (uri, expected) in [
            ("https://a.example/cb", format!("https://a.example/cb?{sent}")),
            ("https://a.example/cb?", format!("https://a.example/cb?{sent}")),
            ("https://a.example/cb?x=1", format!("https://a.example/cb?x=1&{sent}")),
            ("https://a.example/cb?x=1&", format!("https://a.example/cb?x=1&{sent}")),
            ("com.example.app:/cb", format!("com.example.app:/cb?{sent}")),
        ] {
            assert_eq!(with_query(uri, &params), expected);
        }
        assert_eq!(with_query("https://a.example/bye", &[]), "https://a.example/bye");
    }
}
