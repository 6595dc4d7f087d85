//! All routes on one screen: how each is mounted, what it asks for, and how it is described in `/openapi.json`.

use actix_web::web::{self, ServiceConfig};
use actix_web::{Resource, Route};
use service::requests::Pattern;

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
    /// Its method.
    pub method: &'static str,
    /// Its path, below the path of the resource identifier.
    pub path: &'static str,
    /// What it asks for.
    pub needs: Needs,
    /// Its name for programs.
    pub id: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// The schema of its request body.
    pub request: Option<&'static str>,
    /// The good answer: status, words, schema.
    pub answer: (&'static str, &'static str, Option<&'static str>),
    mount: fn() -> Route,
}

const READ: Needs = Needs::Scope(ReadDocuments::SCOPE);
const WRITE: Needs = Needs::Scope(WriteDocuments::SCOPE);
const SHARE: Needs = Needs::Scope(ShareDocuments::SCOPE);

/// The API. Routes of one path stand together.
#[rustfmt::skip]
pub fn table() -> Vec<ApiRoute> {
    let route = |method, path, needs, id, summary, request, answer, mount| ApiRoute { method, path, needs, id, summary, request, answer, mount };
    vec![
        route("GET", documents::PATH, READ, "listDocuments", "Your documents, newest first", None, ("200", "A page", Some("DocumentPage")), || web::get().to(documents::list)),
        route("POST", documents::PATH, WRITE, "createDocument", "Store a document", Some("DocumentInput"), ("201", "Stored", Some("Document")), || web::post().to(documents::create)),
        route("GET", documents::ONE, READ, "getDocument", "One document", None, ("200", "The document", Some("Document")), || web::get().to(documents::get)),
        route("PUT", documents::ONE, WRITE, "putDocument", "Write over a document", Some("DocumentInput"), ("200", "Stored", Some("Document")), || web::put().to(documents::put)),
        route("DELETE", documents::ONE, WRITE, "deleteDocument", "Remove a document", None, ("204", "Removed", None), || web::delete().to(documents::delete)),
        route("POST", share::PATH, SHARE, "shareDocument", "Share a document, when its owner clears it", Some("Share"), ("200", "Shared", None), || web::post().to(share::post)),
        route("GET", whoami::PATH, Needs::AnyToken, "whoami", "What your token says", None, ("200", "Who you are", Some("WhoAmI")), || web::get().to(whoami::get)),
        route("GET", openapi::PATH, Needs::Nothing, "openapi", "This document", None, ("200", "OpenAPI 3.1", Some("OpenApi")), || web::get().to(openapi::get)),
    ]
}

/// Mounts everything. The API stands below `base`, the path of the resource identifier (empty for most); health stands at the root.
pub fn mount(config: &mut ServiceConfig, base: &str) {
    let health = [
        (health::HEALTHZ, web::get().to(health::healthz)),
        (health::READYZ, web::get().to(health::readyz)),
    ];
    for (path, route) in health {
        config.service(resource(path, path, "GET").route(route));
    }
    let table = table();
    for group in table.chunk_by(|a, b| a.path == b.path) {
        let Some(first) = group.first() else { continue };
        let allowed: Vec<&str> = group.iter().map(|route| route.method).collect();
        let resource = resource(&format!("{base}{}", first.path), first.path, &allowed.join(", "));
        config.service(
            group.iter().fold(resource, |resource, route| resource.route((route.mount)())),
        );
    }
}

/// A path that knows its pattern, for logs, and its methods, for 405.
fn resource(path: &str, pattern: &'static str, allowed: &str) -> Resource {
    let allowed = allowed.to_owned();
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
