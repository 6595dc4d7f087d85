//! What goes in and out of the API, as schemas of [OpenAPI 3.1](https://spec.openapis.org/oas/v3.1.1). Leaves out errors, which are the same in every API.

use serde_json::json;
use utoipa::openapi::schema::{ArrayBuilder, Type};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};

use super::documents;

/// Every schema that the route table names, besides those that `/openapi.json` brings along.
pub fn all() -> [(&'static str, RefOr<Schema>); 4] {
    [
        ("Document", document_schema()),
        ("DocumentInput", input_schema()),
        ("DocumentPage", page_schema()),
        ("Share", texts(&["with"]).into()),
    ]
}

/// The query parameters of the operation with this id.
pub fn query_parameters(operation: &str) -> Vec<(&'static str, ObjectBuilder)> {
    match operation {
        "listDocuments" => {
            vec![("limit", ObjectBuilder::new().schema_type(Type::Integer)), ("cursor", text())]
        }
        _ => Vec::new(),
    }
}

/// Any text.
pub fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// An object with these texts.
pub fn texts(names: &[&str]) -> ObjectBuilder {
    names.iter().fold(ObjectBuilder::new().schema_type(Type::Object), |object, name| {
        object.property(*name, text()).required(*name)
    })
}

fn document_schema() -> RefOr<Schema> {
    let example =
        json!({"id": "0f6c…", "title": "Notes", "body": "…", "updated_at": "2026-01-02T03:04:05Z"});
    texts(&["id", "title", "body", "updated_at"]).examples([example]).into()
}

fn input_schema() -> RefOr<Schema> {
    let title = text().min_length(Some(1)).max_length(Some(documents::MAX_TITLE_CHARS));
    let body = text().max_length(Some(documents::MAX_BODY_BYTES));
    let object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("title", title)
        .property("body", body);
    object.required("title").required("body").into()
}

fn page_schema() -> RefOr<Schema> {
    let listed = ArrayBuilder::new().items(texts(&["id", "title", "updated_at"]).build());
    let object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("documents", listed)
        .property("next", text());
    object.required("documents").into()
}
