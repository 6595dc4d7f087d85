//! Our own metadata ([RFC 9728](https://www.rfc-editor.org/rfc/rfc9728)): which issuers' tokens we take, and which scopes our routes ask for. Not signed.

use actix_web::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{self, Bytes, ServiceConfig};
use actix_web::{HttpResponse, guard};
use shared_types::metadata::ProtectedResourceMetadata;
use url::Url;

use super::{GuardOptions, Problem};

/// Where the document is for a resource without a path.
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The path of the document for a resource.
pub fn path(resource: &str) -> String {
    let below = Url::parse(resource).map_or_else(|_| String::new(), |url| url.path().to_owned());
    format!("{WELL_KNOWN}{}", below.trim_end_matches('/'))
}

/// The document, written once, and where it is.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its public URL: "inserting a well-known URI path component between the host component and the path" (RFC 9728 section 3.1).
    pub url: String,
    path: String,
    body: Bytes,
}

impl Document {
    /// The document for these options.
    pub fn new(options: &GuardOptions) -> Self {
        let resource = options.resource.as_str();
        let origin = Url::parse(resource)
            .map_or_else(|_| resource.to_owned(), |url| url.origin().ascii_serialization());
        let document = ProtectedResourceMetadata {
            resource: options.resource.clone(),
            authorization_servers: options.issuers.clone(),
            scopes_supported: options.scopes.clone(),
            bearer_methods_supported: vec!["header".to_owned()],
            resource_name: options.resource_name.clone(),
        };
        let path = path(resource);
        Self {
            url: format!("{origin}{path}"),
            path,
            body: serde_json::to_vec(&document).unwrap_or_default().into(),
        }
    }

    /// The path of its route.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn route(&self, config: &mut ServiceConfig) {
        let body = self.body.clone();
        let answer = move || {
            let response = HttpResponse::Ok()
                .insert_header((CONTENT_TYPE, "application/json"))
                .insert_header((CACHE_CONTROL, "public, max-age=300"))
                .insert_header((ACCESS_CONTROL_ALLOW_ORIGIN, "*"))
                .body(body.clone());
            std::future::ready(response)
        };
        // Named, so that whoever writes a log can tell it from a path that is not there.
        let resource = web::resource(self.path.as_str()).name(WELL_KNOWN);
        let read = guard::Any(guard::Get()).or(guard::Head());
        let other = || std::future::ready(Problem::method_not_allowed("GET, HEAD"));
        config.service(
            resource.route(web::route().guard(read).to(answer)).default_service(web::to(other)),
        );
    }
}

#[cfg(test)]
mod tests {
    use shared_types::{Audience, Issuer};

    use super::*;

    #[test]
    fn the_well_known_part_goes_between_host_and_path() {
        let url = |resource: &str| {
            let issuers = vec![Issuer::parse("https://id.example").unwrap()];
            Document::new(&GuardOptions::new(Audience::parse(resource).unwrap(), issuers)).url
        };
        let base = "https://api.example/.well-known/oauth-protected-resource";
        assert_eq!(url("https://api.example"), base);
        assert_eq!(url("https://api.example/"), base);
        assert_eq!(url("https://api.example/v1"), format!("{base}/v1"));
    }
}
