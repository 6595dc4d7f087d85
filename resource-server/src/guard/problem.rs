//! Error bodies: `application/problem+json` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde_json::{Map, Value};

/// A problem: a status, words for the developer of the client, never a value that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    members: Map<String, Value>,
}

impl Problem {
    /// A problem that is said by its status alone: `type` is absent, which means `about:blank`, and then "`title` SHOULD be the same as
    /// the recommended HTTP status phrase for that code" (RFC 9457 section 4.2.1).
    pub fn plain(status: StatusCode, detail: &str) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self::build(status, title, detail)
    }

    /// A problem with a type of its own, an absolute URI.
    pub fn typed(status: StatusCode, kind: String, title: &str, detail: &str) -> Self {
        Self::build(status, title, detail).with("type", kind)
    }

    fn build(status: StatusCode, title: &str, detail: &str) -> Self {
        let problem = Self { status, members: Map::new() };
        let problem = problem.with("title", title).with("status", status.as_u16());
        if detail.is_empty() { problem } else { problem.with("detail", detail) }
    }

    /// With an extension member (RFC 9457 section 3.2).
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// The answer to another method than `allowed`: "The origin server MUST generate an Allow header field in a 405 response"
    /// ([RFC 9110 section 15.5.6](https://www.rfc-editor.org/rfc/rfc9110#section-15.5.6)).
    pub fn method_not_allowed(allowed: &'static str) -> HttpResponse {
        let detail = "The header Allow lists the methods of this path.";
        let mut response = Self::plain(StatusCode::METHOD_NOT_ALLOWED, detail).response();
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        response
    }

    /// The answer. It is never stored: the next attempt may be good.
    pub fn response(&self) -> HttpResponse {
        HttpResponse::build(self.status)
            .insert_header((CONTENT_TYPE, "application/problem+json"))
            .insert_header((CACHE_CONTROL, "no-store"))
            .body(Value::Object(self.members.clone()).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_problem_says_its_status() {
        let problem = Problem::plain(StatusCode::NOT_FOUND, "There is no such document.");
        assert_eq!(problem.members["title"], "Not Found");
        assert_eq!(problem.members["status"], 404);
        assert!(!problem.members.contains_key("type"));
        assert_eq!(
            problem.response().headers().get(CONTENT_TYPE).unwrap(),
            "application/problem+json"
        );
    }
}
