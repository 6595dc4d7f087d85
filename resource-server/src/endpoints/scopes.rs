//! The name of the API and its scopes, each a type that a handler asks for ([RFC 6749 section 3.3](https://www.rfc-editor.org/rfc/rfc6749#section-3.3)). Decides nothing itself.

use crate::guard::RequiredScope;

/// What people call this API: in its metadata (RFC 9728) and its OpenAPI document.
pub const API_NAME: &str = "Documents";

/// Every scope, as the metadata lists them.
pub const ALL: [&str; 3] = [ReadDocuments::SCOPE, WriteDocuments::SCOPE, ShareDocuments::SCOPE];

/// To read documents.
#[derive(Clone, Copy, Debug)]
pub struct ReadDocuments;

impl RequiredScope for ReadDocuments {
    const SCOPE: &'static str = "documents:read";
}

/// To create, change and remove documents.
#[derive(Clone, Copy, Debug)]
pub struct WriteDocuments;

impl RequiredScope for WriteDocuments {
    const SCOPE: &'static str = "documents:write";
}

/// To ask that a document be shared.
#[derive(Clone, Copy, Debug)]
pub struct ShareDocuments;

impl RequiredScope for ShareDocuments {
    const SCOPE: &'static str = "documents:share";
}
