//! The HTTP interface as an [OpenAPI 3.1](https://spec.openapis.org/oas/v3.1.0) document.
//!
//! One line for each route of the table; a test holds the two together. Pages are listed, their forms are not: they are for browsers.

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Data;
use shared_types::Issuer;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Paths, Required,
    ResponseBuilder, Server,
};

use super::{
    authorize, consent, end_session, health, introspect, jwks, logged_out, login, metadata, revoke,
    token, userinfo,
};
use crate::app::App;
use crate::server::ROUTES;

/// Where it is.
pub const PATH: &str = "/openapi.json";

/// The document.
pub async fn get(app: Data<App>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "public, max-age=300"))
        .json(describe(&app.settings.issuer))
}

/// What a parameter is called, whether it must be there, and what it says.
type Named = (&'static str, bool, &'static str);

/// How one route is used.
struct Use {
    method: Method,
    path: &'static str,
    summary: &'static str,
    tag: &'static str,
    parameters: &'static [Named],
    answers: &'static [(u16, &'static str, &'static str)],
    security: &'static [&'static str],
}

const JSON: &str = "application/json";
const HTML: &str = "text/html";
const NO_BODY: &str = "";
/// Or the form's fields instead (RFC 6749 section 2.3.1), for which OpenAPI has no scheme: hence never the only way.
const CLIENT: &[&str] = &["client_secret_basic"];
const CLIENT_FIELDS: [Named; 2] = [
    ("client_id", false, "The client, unless it stands in the Authorization header"),
    ("client_secret", false, "Its secret, for client_secret_post"),
];

const AUTHORIZATION_REQUEST: &[Named] = &[
    ("client_id", true, "The client"),
    ("response_type", true, "code"),
    ("redirect_uri", false, "Where the answer goes; as registered. Required when several are"),
    ("scope", false, "Scope tokens, separated by spaces"),
    ("state", false, "Comes back unchanged"),
    (
        "code_challenge",
        false,
        "PKCE challenge (RFC 7636); only a client registered without PKCE may leave it out",
    ),
    ("code_challenge_method", false, "S256"),
    ("resource", false, "The API that tokens are for (RFC 8707)"),
    ("nonce", false, "Comes back in the ID token"),
    ("prompt", false, "none, login, consent, select_account"),
    ("max_age", false, "The oldest sign-in that will do, in seconds"),
    ("login_hint", false, "The user name to begin with"),
    ("id_token_hint", false, "An ID token about the person who should be signed in"),
    ("response_mode", false, "query or form_post"),
];

const TOKEN_REQUEST: &[Named] = &[
    ("grant_type", true, "authorization_code, refresh_token or client_credentials"),
    ("code", false, "The authorization code"),
    ("redirect_uri", false, "As in the authorization request, if it was there"),
    ("code_verifier", false, "PKCE verifier (RFC 7636)"),
    ("refresh_token", false, "The refresh token"),
    ("scope", false, "Scope tokens, separated by spaces; never more than was granted"),
    ("resource", false, "The API that the token is for (RFC 8707)"),
    CLIENT_FIELDS[0],
    CLIENT_FIELDS[1],
];

const ONE_TOKEN: &[Named] = &[
    ("token", true, "An access token or a refresh token"),
    ("token_type_hint", false, "access_token or refresh_token"),
    CLIENT_FIELDS[0],
    CLIENT_FIELDS[1],
];

const SIGN_OUT: &[Named] = &[
    ("id_token_hint", false, "The ID token of the session that ends"),
    ("client_id", false, "The client"),
    ("post_logout_redirect_uri", false, "Where the browser goes afterwards; as registered"),
    ("state", false, "Comes back unchanged"),
];

const PAGE: &[(u16, &str, &str)] =
    &[(200, "The page", HTML), (400, "A page that says what is wrong", HTML)];
const FORM: &[(u16, &str, &str)] =
    &[(303, "To the next step", NO_BODY), (403, "The form does not belong to this browser", HTML)];
const AUTHORIZED: &[(u16, &str, &str)] = &[
    (
        303,
        "To the client with code, state and iss, or with an error; or to the sign-in or consent page",
        NO_BODY,
    ),
    (400, "A page: client or redirect_uri are not proven, so nobody is sent anywhere", HTML),
];
const OAUTH: &[(u16, &str, &str)] = &[
    (200, "The answer", JSON),
    (400, "An error of RFC 6749 section 5.2", JSON),
    (401, "The client is not authenticated", JSON),
    (429, "Too many failed attempts; see Retry-After", JSON),
    (503, "Not available now; see Retry-After", JSON),
];
const DOCUMENT: &[(u16, &str, &str)] = &[(200, "The document", JSON)];
const CLAIMS: &[(u16, &str, &str)] = &[
    (200, "Claims about the person", JSON),
    (401, "The token does not count (RFC 6750)", JSON),
    (403, "The token lacks the scope openid", JSON),
];
const PROBE: &[(u16, &str, &str)] = &[(200, "Yes", JSON), (503, "No", JSON)];

macro_rules! uses {
    ($($tag:literal: $method:ident $path:expr => $summary:literal, $parameters:expr, $answers:expr, $security:expr;)*) => {
        [$(Use {
            method: Method::$method, path: $path, summary: $summary, tag: $tag,
            parameters: $parameters, answers: $answers, security: $security,
        },)*]
    };
}

#[rustfmt::skip]
static USES: [Use; 20] = uses! {
    "discovery": GET  metadata::PATH        => "Authorization server metadata (RFC 8414)", &[], DOCUMENT, &[];
    "discovery": GET  metadata::OPENID_PATH => "OpenID Provider metadata", &[], DOCUMENT, &[];
    "discovery": GET  jwks::PATH            => "Public keys (RFC 7517)", &[], DOCUMENT, &[];
    "discovery": GET  PATH                  => "This document", &[], DOCUMENT, &[];
    "browser":   GET  authorize::PATH       => "Ask a person for authorization (RFC 6749 section 4.1.1)", AUTHORIZATION_REQUEST, AUTHORIZED, &[];
    "browser":   POST authorize::PATH       => "The same with a form", AUTHORIZATION_REQUEST, AUTHORIZED, &[];
    "browser":   GET  login::PATH           => "The sign-in page", &[], PAGE, &[];
    "browser":   POST login::PATH           => "Sign in", &[], FORM, &[];
    "browser":   GET  consent::PATH         => "The consent page", &[], PAGE, &[];
    "browser":   POST consent::PATH         => "Allow or deny", &[], FORM, &[];
    "browser":   GET  end_session::PATH     => "Sign out (OpenID Connect RP-Initiated Logout)", SIGN_OUT, PAGE, &[];
    "browser":   POST end_session::PATH     => "The same with a form, and its confirmation", SIGN_OUT, FORM, &[];
    "browser":   GET  logged_out::PATH      => "The page after signing out", &[], PAGE, &[];
    "tokens":    POST token::PATH           => "Obtain tokens (RFC 6749 section 3.2)", TOKEN_REQUEST, OAUTH, CLIENT;
    "tokens":    POST introspect::PATH      => "Ask about a token (RFC 7662)", ONE_TOKEN, OAUTH, CLIENT;
    "tokens":    POST revoke::PATH          => "Give a token back (RFC 7009)", ONE_TOKEN, OAUTH, CLIENT;
    "tokens":    GET  userinfo::PATH        => "Claims about the person (OpenID Connect Core section 5.3)", &[], CLAIMS, &["access_token"];
    "tokens":    POST userinfo::PATH        => "The same; the token may stand in the form", &[("access_token", false, "The token, unless it stands in the header")], CLAIMS, &["access_token"];
    "probes":    GET  health::HEALTHZ       => "Is the process alive?", &[], PROBE, &[];
    "probes":    GET  health::READYZ        => "Can it do its work now?", &[], PROBE, &[];
};

/// The document for an issuer: only what is routed.
pub fn describe(issuer: &Issuer) -> OpenApi {
    let mut paths = Paths::new();
    let routed = |row: &&Use| {
        ROUTES.iter().any(|entry| entry.path == row.path && entry.method == row.method)
    };
    for row in USES.iter().filter(routed) {
        let method = if row.method == Method::POST { HttpMethod::Post } else { HttpMethod::Get };
        paths.add_path_operation(row.path, vec![method], row.operation());
    }
    let info = InfoBuilder::new()
        .title("auth-server")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("An authorization server: OAuth 2.1 and OpenID Connect"));
    let http = |scheme| SecurityScheme::Http(HttpBuilder::new().scheme(scheme).build());
    let components = ComponentsBuilder::new()
        .security_scheme("client_secret_basic", http(HttpAuthScheme::Basic))
        .security_scheme("access_token", http(HttpAuthScheme::Bearer));
    OpenApiBuilder::new()
        .info(info.build())
        .servers(Some([Server::new(issuer.as_str())]))
        .paths(paths)
        .components(Some(components.build()))
        .build()
}

impl Use {
    fn operation(&self) -> Operation {
        let mut operation = OperationBuilder::new()
            .tag(self.tag)
            .operation_id(Some(operation_id(&self.method, self.path)))
            .summary(Some(self.summary));
        if self.method == Method::POST {
            operation = operation
                .request_body((!self.parameters.is_empty()).then(|| form(self.parameters)));
        } else {
            operation = operation.parameters(
                (!self.parameters.is_empty()).then(|| self.parameters.iter().map(in_query)),
            );
        }
        for (status, description, media_type) in self.answers {
            let mut response = ResponseBuilder::new().description(*description);
            if !media_type.is_empty() {
                response = response.content(*media_type, ContentBuilder::new().build());
            }
            operation = operation.response(status.to_string(), response.build());
        }
        let scopes: [&str; 0] = [];
        for scheme in self.security {
            operation = operation.security(SecurityRequirement::new(*scheme, scopes));
        }
        if self.security == CLIENT {
            operation = operation.security(SecurityRequirement::default());
        }
        operation.build()
    }
}

/// `post_token`, `get_well_known_openid_configuration`.
fn operation_id(method: &Method, path: &str) -> String {
    let words: String =
        path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let words = words.split('_').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_");
    format!("{}_{words}", method.as_str().to_lowercase())
}

fn in_query((name, required, description): &Named) -> Parameter {
    ParameterBuilder::new()
        .name(*name)
        .parameter_in(ParameterIn::Query)
        .required(if *required { Required::True } else { Required::False })
        .description(Some(*description))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

fn form(fields: &[Named]) -> RequestBody {
    let object = fields.iter().fold(
        ObjectBuilder::new().schema_type(Type::Object),
        |object, (name, required, about)| {
            let field = ObjectBuilder::new().schema_type(Type::String).description(Some(*about));
            let object = object.property(*name, field);
            if *required { object.required(*name) } else { object }
        },
    );
    let content = ContentBuilder::new().schema(Some(Schema::from(object))).build();
    RequestBodyBuilder::new()
        .required(Some(Required::True))
        .content("application/x-www-form-urlencoded", content)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let described = |method: &Method, path: &str| {
            USES.iter().any(|row| row.path == path && row.method == *method)
        };
        for entry in ROUTES {
            assert!(described(&entry.method, entry.path), "not described: {entry:?}");
        }
        assert_eq!(USES.len(), ROUTES.len());
    }

    #[test]
    fn the_document_is_openapi_3_1_and_names_the_issuer() {
        let issuer = Issuer::parse("https://id.example").unwrap();
        let document = serde_json::to_value(describe(&issuer)).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        assert_eq!(document["servers"][0]["url"], "https://id.example");
        let token = &document["paths"]["/token"]["post"];
        assert_eq!(token["operationId"], "post_token");
        let form = &token["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"];
        assert_eq!(form["required"], serde_json::json!(["grant_type"]));
    }
}
