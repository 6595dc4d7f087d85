//! How each route is used, for the [OpenAPI document](https://spec.openapis.org/oas/v3.1.0): one row for each row of the table of routes; a
//! test holds the two together.

use actix_web::http::Method;

use crate::endpoints::{
    authorize, consent, end_session, health, introspect, jwks, logged_out, login, metadata, revoke,
    token, userinfo,
};

/// What a parameter is called, whether it must be there, and what it says.
pub(super) type Named = (&'static str, bool, &'static str);

/// How one route is used.
pub(super) struct Use {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) tag: &'static str,
    pub(super) query: &'static [Named],
    pub(super) form: &'static [Named],
    pub(super) answers: &'static [&'static [Answer]],
    pub(super) security: &'static [&'static str],
}

/// A status, what it means, and what comes with it.
pub(super) type Answer = (u16, &'static str, Body);

/// What an answer holds.
#[derive(Clone, Copy)]
pub(super) enum Body {
    Nothing,
    Page,
    /// JSON of a media type, with the schema of this name; without one, any object.
    Json(&'static str, Option<&'static str>),
}

const fn json(schema: &'static str) -> Body {
    Body::Json("application/json", Some(schema))
}

/// Or the form's fields instead (RFC 6749 section 2.3.1), for which OpenAPI has no scheme: hence never the only way.
pub(super) const CLIENT: &[&str] = &["client_secret_basic"];
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

const SIGN_OUT: [Named; 4] = [
    ("id_token_hint", false, "The ID token of the session that ends"),
    ("client_id", false, "The client"),
    ("post_logout_redirect_uri", false, "Where the browser goes afterwards; as registered"),
    ("state", false, "Comes back unchanged"),
];
/// What our own page adds when it confirms.
const SIGN_OUT_FORM: &[Named] = &[
    SIGN_OUT[0],
    SIGN_OUT[1],
    SIGN_OUT[2],
    SIGN_OUT[3],
    CSRF,
    ("request", false, "The sealed request to sign out, as the page has it"),
    ("action", false, "confirm or cancel"),
];

/// Pages carry the authorization request along, sealed.
const SEALED: &[Named] = &[("r", true, "The sealed authorization request, as the server gave it")];
const CSRF: Named = (
    "csrf",
    false,
    "Proof that the form is the page's own; forms without it are refused or read anew",
);
const LOGIN_FORM: &[Named] = &[
    CSRF,
    ("username", false, "The user name"),
    ("password", false, "The password"),
    ("action", false, "sign-in or cancel"),
];
const CONSENT_FORM: &[Named] = &[
    CSRF,
    ("question", false, "What the page asked; an answer to anything else is asked again"),
    ("decision", false, "allow or deny"),
];
const TOKEN_FIELD: &[Named] =
    &[("access_token", false, "The token, unless it stands in the header")];

const PAGE: &[Answer] = &[(200, "The page", Body::Page)];
const FORM_POST: &[Answer] =
    &[(200, "A form that posts the answer to the client (form_post)", Body::Page)];
const PAGE_OR_FORM_POST: &[Answer] =
    &[(200, "The page, or a form that posts the answer to the client (form_post)", Body::Page)];
const NEXT: &[Answer] = &[(
    303,
    "To the client with code, state and iss, or with an error; or to the next page",
    Body::Nothing,
)];
const PAGE_FAULTS: &[Answer] = &[
    (400, "A page that says what is wrong; nobody is sent anywhere", Body::Page),
    (500, "A page: a fault of the server's own", Body::Page),
    (503, "A page: not available now; see Retry-After", Body::Page),
];
const PAGE_FORM_FAULTS: &[Answer] = &[
    (408, "A page: the form did not arrive in time", Body::Page),
    (413, "A page: the form is too long", Body::Page),
    (415, "A page: the form is compressed", Body::Page),
];
const FORGED: &[Answer] = &[(403, "A page: the form does not belong to this browser", Body::Page)];
const SIGN_IN_REFUSED: &[Answer] = &[
    (
        403,
        "The page again: user name and password do not fit, or the form does not belong to this browser",
        Body::Page,
    ),
    (429, "The page again: too many failed attempts; see Retry-After", Body::Page),
];

const TOKENS: &[Answer] = &[(200, "The tokens (RFC 6749 section 5.1)", json("Token"))];
const INTROSPECTED: &[Answer] =
    &[(200, "What the token is worth (RFC 7662 section 2.2)", json("Introspection"))];
const REVOKED: &[Answer] = &[(200, "It is worth nothing now, or never was", Body::Nothing)];
const CLIENT_FAULTS: &[Answer] = &[
    (400, "An error of RFC 6749 section 5.2", json("Error")),
    (401, "The client is not authenticated", json("Error")),
    (429, "Too many failed attempts; see Retry-After", json("Error")),
];
const FORM_FAULTS: &[Answer] = &[
    (408, "The form did not arrive in time", json("Error")),
    (413, "The form is too long", json("Error")),
    (415, "The form is compressed", json("Error")),
];
const FAULTS: &[Answer] = &[
    (500, "A fault of the server's own", json("Error")),
    (503, "Not available now; see Retry-After", json("Error")),
];
const METADATA: &[Answer] = &[(200, "The metadata", json("Metadata"))];
const KEYS: &[Answer] = &[
    (200, "The keys", Body::Json("application/jwk-set+json", Some("JwkSet"))),
    (304, "They are what If-None-Match names", Body::Nothing),
];
const DOCUMENT: &[Answer] = &[(200, "The document", Body::Json("application/json", None))];
const CLAIMS: &[Answer] = &[
    (200, "Claims about the person", json("UserInfo")),
    (400, "More than one token, or one in the query", json("Error")),
    (401, "The token does not count (RFC 6750); without a body when there is none", json("Error")),
    (403, "The token lacks the scope openid", json("Error")),
];
const PROBE: &[Answer] = &[(200, "Yes", json("Status"))];
const PROBE_FAILS: &[Answer] = &[(503, "No", json("Status"))];

macro_rules! uses {
    ($($tag:literal: $method:ident $path:expr => $summary:literal, $query:expr, $form:expr, $answers:expr, $security:expr;)*) => {
        [$(Use {
            method: Method::$method, path: $path, summary: $summary, tag: $tag,
            query: $query, form: $form, answers: &$answers, security: $security,
        },)*]
    };
}

#[rustfmt::skip]
pub(super) static USES: [Use; 20] = uses! {
    "discovery": GET  metadata::PATH        => "Authorization server metadata (RFC 8414)", &[], &[], [METADATA, FAULTS], &[];
    "discovery": GET  metadata::OPENID_PATH => "OpenID Provider metadata", &[], &[], [METADATA, FAULTS], &[];
    "discovery": GET  jwks::PATH            => "Public keys (RFC 7517)", &[], &[], [KEYS, FAULTS], &[];
    "discovery": GET  super::PATH           => "This document", &[], &[], [DOCUMENT], &[];
    "browser":   GET  authorize::PATH       => "Ask a person for authorization (RFC 6749 section 4.1.1)", AUTHORIZATION_REQUEST, &[], [FORM_POST, NEXT, PAGE_FAULTS], &[];
    "browser":   POST authorize::PATH       => "The same with a form", &[], AUTHORIZATION_REQUEST, [FORM_POST, NEXT, PAGE_FAULTS, PAGE_FORM_FAULTS], &[];
    "browser":   GET  login::PATH           => "The sign-in page", SEALED, &[], [PAGE_OR_FORM_POST, NEXT, PAGE_FAULTS], &[];
    "browser":   POST login::PATH           => "Sign in", SEALED, LOGIN_FORM, [FORM_POST, NEXT, PAGE_FAULTS, PAGE_FORM_FAULTS, SIGN_IN_REFUSED], &[];
    "browser":   GET  consent::PATH         => "The consent page", SEALED, &[], [PAGE_OR_FORM_POST, NEXT, PAGE_FAULTS], &[];
    "browser":   POST consent::PATH         => "Allow or deny", SEALED, CONSENT_FORM, [PAGE_OR_FORM_POST, NEXT, PAGE_FAULTS, PAGE_FORM_FAULTS, FORGED], &[];
    "browser":   GET  end_session::PATH     => "Sign out (OpenID Connect RP-Initiated Logout)", &SIGN_OUT, &[], [PAGE, NEXT, PAGE_FAULTS], &[];
    "browser":   POST end_session::PATH     => "The same with a form, and its confirmation", &[], SIGN_OUT_FORM, [PAGE, NEXT, PAGE_FAULTS, PAGE_FORM_FAULTS, FORGED], &[];
    "browser":   GET  logged_out::PATH      => "The page after signing out", &[], &[], [PAGE], &[];
    "tokens":    POST token::PATH           => "Obtain tokens (RFC 6749 section 3.2)", &[], TOKEN_REQUEST, [TOKENS, CLIENT_FAULTS, FORM_FAULTS, FAULTS], CLIENT;
    "tokens":    POST introspect::PATH      => "Ask about a token (RFC 7662)", &[], ONE_TOKEN, [INTROSPECTED, CLIENT_FAULTS, FORM_FAULTS, FAULTS], CLIENT;
    "tokens":    POST revoke::PATH          => "Give a token back (RFC 7009)", &[], ONE_TOKEN, [REVOKED, CLIENT_FAULTS, FORM_FAULTS, FAULTS], CLIENT;
    "tokens":    GET  userinfo::PATH        => "Claims about the person (OpenID Connect Core section 5.3)", &[], &[], [CLAIMS, FAULTS], &["access_token"];
    "tokens":    POST userinfo::PATH        => "The same; the token may stand in the form", &[], TOKEN_FIELD, [CLAIMS, FORM_FAULTS, FAULTS], &["access_token"];
    "probes":    GET  health::HEALTHZ       => "Is the process alive?", &[], &[], [PROBE], &[];
    "probes":    GET  health::READYZ        => "Can it do its work now?", &[], &[], [PROBE, PROBE_FAILS], &[];
};
