//! Every route on one screen. What exists for metadata, OpenAPI and 405 follows from this table.

use actix_web::http::{Method, StatusCode, header};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Route, guard};
use service::requests::Pattern;
use shared_types::{ErrorBody, ErrorCode, Issuer};

use crate::endpoints::{
    Offer, Offers, authorize, consent, end_session, health, introspect, jwks, logged_out, login,
    metadata, openapi, revoke, token, userinfo,
};

/// One row: a method at a path.
pub struct Entry {
    /// The method. A [`Place::Document`] answers HEAD as well.
    pub method: Method,
    /// Its path, where the issuer has none.
    pub path: &'static str,
    /// How the path changes when the issuer has one.
    pub place: Place,
    /// Where it is specified.
    pub source: &'static str,
    handler: fn() -> Route,
}

/// Where a route stands when the issuer has a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Below the issuer.
    Issuer,
    /// Below the issuer, a document that may be kept.
    Document,
    /// Before the issuer's path ([RFC 8414 section 3](https://www.rfc-editor.org/rfc/rfc8414#section-3)), and below the issuer.
    WellKnown,
    /// At the root: for probes, which know no issuer.
    Root,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

macro_rules! row {
    ($method:ident $place:ident $path:expr => $handler:expr, $source:literal) => {
        Entry {
            method: Method::$method,
            path: $path,
            place: Place::$place,
            source: $source,
            handler: || web::to($handler),
        }
    };
}

/// The table.
#[rustfmt::skip]
pub static ROUTES: &[Entry] = &[
    row!(GET  WellKnown metadata::PATH        => metadata::get,        "RFC 8414"),
    row!(GET  WellKnown metadata::OPENID_PATH => metadata::get,        "OpenID Connect Discovery"),
    row!(GET  Document  jwks::PATH            => jwks::get,            "RFC 7517"),
    row!(GET  Issuer    authorize::PATH       => authorize::get,       "RFC 6749 section 3.1"),
    row!(POST Issuer    authorize::PATH       => authorize::post,      "OpenID Connect Core section 3.1.2.1"),
    row!(GET  Issuer    login::PATH           => login::get,           "the sign-in page"),
    row!(POST Issuer    login::PATH           => login::post,          "the sign-in page"),
    row!(GET  Issuer    consent::PATH         => consent::get,         "the consent page"),
    row!(POST Issuer    consent::PATH         => consent::post,        "the consent page"),
    row!(POST Issuer    token::PATH           => token::post,          "RFC 6749 section 3.2"),
    row!(POST Issuer    introspect::PATH      => introspect::post,     "RFC 7662"),
    row!(POST Issuer    revoke::PATH          => revoke::post,         "RFC 7009"),
    row!(GET  Issuer    userinfo::PATH        => userinfo::get,        "OpenID Connect Core section 5.3"),
    row!(POST Issuer    userinfo::PATH        => userinfo::post,       "OpenID Connect Core section 5.3"),
    row!(GET  Issuer    end_session::PATH     => end_session::get,     "OpenID Connect RP-Initiated Logout"),
    row!(POST Issuer    end_session::PATH     => end_session::post,    "OpenID Connect RP-Initiated Logout"),
    row!(GET  Issuer    logged_out::PATH      => logged_out::get,      "the page after signing out"),
    row!(GET  Root      health::HEALTHZ       => health::healthz,      "alive"),
    row!(GET  Root      health::READYZ        => health::readyz,       "ready"),
    row!(GET  Document  openapi::PATH         => openapi::get,         "OpenAPI 3.1"),
];

/// The table as the documents about this server see it.
pub fn offers() -> Offers {
    let offer = |entry: &Entry| Offer {
        method: entry.method.clone(),
        path: entry.path,
        at_root: entry.place == Place::Root,
    };
    Offers(ROUTES.iter().map(offer).collect())
}

/// Registers the table for an issuer.
pub fn routes(cfg: &mut ServiceConfig, issuer: &Issuer) {
    let mut seen: Vec<&str> = Vec::new();
    for entry in ROUTES {
        if seen.contains(&entry.path) {
            continue;
        }
        seen.push(entry.path);
        for path in paths(entry, &issuer.path()) {
            cfg.service(resource(entry.path, &path));
        }
    }
    cfg.default_service(web::to(not_found));
}

/// All rows of one path, and 405 for every other method.
fn resource(pattern: &'static str, path: &str) -> actix_web::Resource {
    let rows = || ROUTES.iter().filter(|entry| entry.path == pattern);
    let mut allow: Vec<&str> = rows().map(|entry| entry.method.as_str()).collect();
    if rows().any(Entry::answers_head) {
        allow.push("HEAD");
    }
    let allow = allow.join(", ");
    let resource = web::resource(path)
        .app_data(Pattern(pattern))
        .default_service(web::to(move || std::future::ready(method_not_allowed(&allow))));
    rows().fold(resource, |resource, entry| {
        let methods = guard::Any(guard::Method(entry.method.clone()));
        let methods = if entry.answers_head() { methods.or(guard::Head()) } else { methods };
        resource.route((entry.handler)().guard(methods))
    })
}

impl Entry {
    /// "All general-purpose servers MUST support the methods GET and HEAD" (RFC 9110 section 9.1): documents and probes do.
    /// For a page, GET acts (it hands out codes and cookies), so HEAD is left out there.
    fn answers_head(&self) -> bool {
        self.method == Method::GET && self.place != Place::Issuer
    }
}

/// Where a row stands below an issuer with this path.
fn paths(entry: &Entry, issuer_path: &str) -> Vec<String> {
    let below = format!("{issuer_path}{}", entry.path);
    match entry.place {
        Place::Root => vec![entry.path.to_owned()],
        // Discovery appends, RFC 8414 inserts; RFC 8414 section 5 has clients that try both for both.
        Place::WellKnown if !issuer_path.is_empty() => {
            vec![format!("{}{issuer_path}", entry.path), below]
        }
        Place::WellKnown | Place::Issuer | Place::Document => vec![below],
    }
}

async fn not_found() -> HttpResponse {
    HttpResponse::NotFound().json(body("There is nothing at this path."))
}

fn method_not_allowed(allow: &str) -> HttpResponse {
    HttpResponse::build(StatusCode::METHOD_NOT_ALLOWED)
        .insert_header((header::ALLOW, allow))
        .json(body("This path does not answer the method; the Allow header lists those it does."))
}

fn body(description: &str) -> ErrorBody {
    ErrorBody { error: ErrorCode::InvalidRequest, error_description: Some(description.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_stands_twice() {
        for (index, entry) in ROUTES.iter().enumerate() {
            let same = |other: &Entry| other.path == entry.path && other.method == entry.method;
            assert!(!ROUTES[index + 1..].iter().any(same), "{entry:?}");
        }
    }

    #[test]
    fn an_issuers_path_is_inserted_after_well_known_and_prefixed_elsewhere() {
        let paths_of =
            |path: &str| paths(ROUTES.iter().find(|entry| entry.path == path).unwrap(), "/tenant");
        assert!(
            paths_of(metadata::PATH)
                .contains(&"/.well-known/oauth-authorization-server/tenant".to_owned())
        );
        assert!(
            paths_of(metadata::OPENID_PATH)
                .contains(&"/tenant/.well-known/openid-configuration".to_owned())
        );
        assert_eq!(paths_of(token::PATH), ["/tenant/token"]);
        assert_eq!(paths_of(health::READYZ), ["/readyz"]);
    }
}
