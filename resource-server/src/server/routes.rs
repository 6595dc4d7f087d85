//! All routes on one screen: how each is mounted, what it asks for, and how it is described in `/openapi.json`.

use actix_web::guard::{self, Guard};
use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};
use actix_web::{Resource, Route};
use service::requests::Pattern;

use crate::endpoints::schemas::{self, Parameter};
use crate::endpoints::scopes::{ReadDocuments, ShareDocuments, WriteDocuments};
use crate::endpoints::{documents, health, openapi, share, whoami};
use crate::error::ApiError;
use crate::guard::RequiredScope as _;

/// What a route asks for; the handler's `Granted<…>` enforces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// No token.
    Nothing,
    /// Any valid token.
    AnyToken,
    /// A valid token with this scope.
    Scope(&'static str),
}

/// One route.
#[derive(Debug)]
pub struct ApiRoute {
    /// Its method. What answers GET answers HEAD as well.
    pub method: &'static str,
    /// Its path, below the path of the resource identifier.
    pub path: &'static str,
    /// What it asks for.
    pub needs: Needs,
    /// Its name for programs.
    pub id: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// Its query parameters.
    pub query: fn() -> Vec<Parameter>,
    /// The schema of its request body.
    pub request: Option<&'static str>,
    /// The good answer.
    pub answer: Answer,
    handler: fn() -> Route,
}

/// A good answer, as `/openapi.json` describes it.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Its status.
    pub status: &'static str,
    /// What it means.
    pub said: &'static str,
    /// The schema of its body.
    pub schema: Option<&'static str>,
}

impl Answer {
    /// One with a body of this schema.
    pub const fn of(status: &'static str, said: &'static str, schema: &'static str) -> Self {
        Self { status, said, schema: Some(schema) }
    }

    /// One without a body.
    pub const fn empty(status: &'static str, said: &'static str) -> Self {
        Self { status, said, schema: None }
    }
}

const READ: Needs = Needs::Scope(ReadDocuments::SCOPE);
const WRITE: Needs = Needs::Scope(WriteDocuments::SCOPE);
const SHARE: Needs = Needs::Scope(ShareDocuments::SCOPE);

/// The API. Routes of one path stand together.
#[rustfmt::skip]
pub fn table() -> Vec<ApiRoute> {
    vec![
        ApiRoute { method: "GET", path: documents::PATH, needs: READ, id: "listDocuments", summary: "Your documents, newest first",
                   query: schemas::page_query, request: None, answer: Answer::of("200", "A page", "DocumentPage"), handler: || web::to(documents::list) },
        ApiRoute { method: "POST", path: documents::PATH, needs: WRITE, id: "createDocument", summary: "Store a document",
                   query: Vec::new, request: Some("DocumentInput"), answer: Answer::of("201", "Stored", "Document"), handler: || web::to(documents::create) },
        ApiRoute { method: "GET", path: documents::ONE, needs: READ, id: "getDocument", summary: "One document",
                   query: Vec::new, request: None, answer: Answer::of("200", "The document", "Document"), handler: || web::to(documents::get) },
        ApiRoute { method: "PUT", path: documents::ONE, needs: WRITE, id: "putDocument", summary: "Write over a document",
                   query: Vec::new, request: Some("DocumentInput"), answer: Answer::of("200", "Stored", "Document"), handler: || web::to(documents::put) },
        ApiRoute { method: "DELETE", path: documents::ONE, needs: WRITE, id: "deleteDocument", summary: "Remove a document",
                   query: Vec::new, request: None, answer: Answer::empty("204", "Removed"), handler: || web::to(documents::delete) },
        ApiRoute { method: "POST", path: share::PATH, needs: SHARE, id: "shareDocument", summary: "Share a document, when its owner clears it",
                   query: Vec::new, request: Some("Share"), answer: Answer::empty("200", "Shared"), handler: || web::to(share::post) },
        ApiRoute { method: "GET", path: whoami::PATH, needs: Needs::AnyToken, id: "whoami", summary: "What your token says",
                   query: Vec::new, request: None, answer: Answer::of("200", "Who you are", "WhoAmI"), handler: || web::to(whoami::get) },
        ApiRoute { method: "GET", path: openapi::PATH, needs: Needs::Nothing, id: "openapi", summary: "This document",
                   query: Vec::new, request: None, answer: Answer::of("200", "OpenAPI 3.1", "OpenApi"), handler: || web::to(openapi::get) },
    ]
}

/// Mounts everything. The API stands below `base`, the path of the resource identifier (empty for most); health stands at the root.
pub fn mount(config: &mut ServiceConfig, base: &str) {
    let health =
        [(health::HEALTHZ, web::to(health::healthz)), (health::READYZ, web::to(health::readyz))];
    for (path, route) in health {
        config.service(resource(path, path, &["GET"]).route(route.guard(methods("GET"))));
    }
    let table = table();
    // Paths are tried one after the other: a fixed one wins over a pattern, and costs no regular expression.
    let (fixed, patterns): (Vec<_>, Vec<_>) = table
        .chunk_by(|a, b| a.path == b.path)
        .partition(|group| group.first().is_some_and(|route| !route.path.contains('{')));
    for group in fixed.into_iter().chain(patterns) {
        let Some(first) = group.first() else { continue };
        let names: Vec<&str> = group.iter().map(|route| route.method).collect();
        let resource = resource(&format!("{base}{}", first.path), first.path, &names);
        config.service(group.iter().fold(resource, |resource, route| {
            resource.route((route.handler)().guard(methods(route.method)))
        }));
    }
}

/// "All general-purpose servers MUST support the methods GET and HEAD" ([RFC 9110 section 9.1](https://www.rfc-editor.org/rfc/rfc9110#section-9.1)):
/// what answers GET answers HEAD, without the body.
fn methods(name: &'static str) -> impl Guard {
    let is_get = name == "GET";
    guard::fn_guard(move |request| {
        let asked = &request.head().method;
        asked.as_str() == name || (is_get && *asked == Method::HEAD)
    })
}

/// A path that knows its pattern, for logs, and its methods, for 405.
fn resource(path: &str, pattern: &'static str, names: &[&str]) -> Resource {
    let mut allowed = names.to_vec();
    if allowed.contains(&"GET") {
        allowed.push("HEAD");
    }
    let allowed = allowed.join(", ");
    let other =
        move || std::future::ready(Err::<&str, _>(ApiError::MethodNotAllowed(allowed.clone())));
    web::resource(path).app_data(Pattern(pattern)).default_service(web::to(other))
}

/// For everything that no route knows.
pub async fn nothing_here() -> Result<&'static str, ApiError> {
    Err(ApiError::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_one_path_stand_together() {
        let table = table();
        let mut seen: Vec<&str> =
            table.chunk_by(|a, b| a.path == b.path).map(|group| group[0].path).collect();
        let groups = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), groups);
    }
}
