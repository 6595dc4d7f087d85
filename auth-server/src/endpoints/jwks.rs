//! `GET /jwks.json`: the public keys ([RFC 7517 section 5](https://www.rfc-editor.org/rfc/rfc7517#section-5)), for as long as caches may keep them.

use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, ETAG, EntityTag, Header as _,
    IfNoneMatch,
};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use crate::app::App;
use crate::error::TokenError;

/// Where it is; the metadata says so.
pub const PATH: &str = "/jwks.json";

/// Answers the published set, or 304 to somebody who has it already.
///
/// An instance that has lost the database answers 503 and not what it knew last: a resource server would take a key that was revoked
/// meanwhile for confirmed, and keep it beyond its own limit.
pub async fn get(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, TokenError> {
    app.registry().await?;
    let jwks = app.keys.jwks();
    let known = IfNoneMatch::parse(&request).is_ok_and(|condition| names(&condition, &jwks.etag));
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((
            CACHE_CONTROL,
            format!("public, max-age={}", app.settings.signing.jwks_max_age),
        ))
        .insert_header((ETAG, jwks.etag.as_str()))
        // Public by nature: a client that lives in a browser verifies its ID tokens too.
        .insert_header((ACCESS_CONTROL_ALLOW_ORIGIN, "*"));
    if known {
        return Ok(response.finish());
    }
    // RFC 7517 section 8.5.2 registers this type for a set.
    Ok(response.insert_header((CONTENT_TYPE, "application/jwk-set+json")).body(jwks.body.clone()))
}

/// "A recipient MUST use the weak comparison function when comparing entity tags for If-None-Match"
/// ([RFC 9110 section 13.1.2](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2)).
fn names(condition: &IfNoneMatch, etag: &str) -> bool {
    match condition {
        IfNoneMatch::Any => true,
        IfNoneMatch::Items(tags) => etag
            .parse::<EntityTag>()
            .is_ok_and(|current| tags.iter().any(|tag| tag.weak_eq(&current))),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_condition_names_the_tag_alone_in_a_list_weakly_or_by_star() {
        for (condition, known) in [
            (r#""a""#, true),
            (r#"W/"a""#, true),
            (r#""b", "a""#, true),
            ("*", true),
            (r#""b""#, false),
            ("a", false),
            ("", false),
        ] {
            let request =
                TestRequest::get().insert_header(("if-none-match", condition)).to_http_request();
            let answer =
                IfNoneMatch::parse(&request).is_ok_and(|condition| names(&condition, r#""a""#));
            assert_eq!(answer, known, "{condition}");
        }
        let bare = TestRequest::get().to_http_request();
        assert!(!IfNoneMatch::parse(&bare).is_ok_and(|condition| names(&condition, r#""a""#)));
    }
}
