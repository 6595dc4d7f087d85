//! `GET /whoami`: what the caller's own token says ([RFC 9068 section 2.2](https://www.rfc-editor.org/rfc/rfc9068#section-2.2)). Leaves out everything that is not about who acts for whom.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Serialize;

use crate::guard::{AnyToken, Granted};

/// Its path.
pub const PATH: &str = "/whoami";

/// Answers any valid token.
pub async fn get(granted: Granted<AnyToken>) -> HttpResponse {
    let claims = granted.claims();
    let answer = Answer {
        iss: claims.iss.as_str(),
        sub: claims.sub.as_str(),
        client_id: claims.client_id.as_str(),
        scope: claims.scope.to_string(),
        exp: claims.exp.as_i64(),
    };
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(serde_json::to_vec(&answer).unwrap_or_default())
}

#[derive(Serialize)]
struct Answer<'a> {
    iss: &'a str,
    sub: &'a str,
    client_id: &'a str,
    scope: String,
    exp: i64,
}
