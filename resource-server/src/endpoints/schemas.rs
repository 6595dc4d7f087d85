//! What goes in and out of the API, as schemas of [OpenAPI 3.1](https://spec.openapis.org/oas/v3.1.1). Leaves out errors, which are the same in every API.

use serde_json::json;
use utoipa::openapi::schema::{ArrayBuilder, SchemaType, Type};
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

/// A query parameter: its name, and the schema of its value.
pub type Parameter = (&'static str, ObjectBuilder);

/// The query parameters of a list in pages.
pub fn page_query() -> Vec<Parameter> {
    let limit = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1_isize))
        .maximum(isize::try_from(documents::MAX_LIMIT).ok())
        .default(Some(json!(documents::DEFAULT_LIMIT)));
    vec![("limit", limit), ("cursor", text().description(Some("next of the page before")))]
}

/// Any text.
pub fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// Any text, or null.
pub fn text_or_null() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Null]))
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
    let object =
        ObjectBuilder::new().schema_type(Type::Object).property("documents", listed).property(
            "next",
            text_or_null().description(Some("The cursor of the next page; null: none")),
        );
    object.required("documents").required("next").into()
}
