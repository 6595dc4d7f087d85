//! `GET /openapi.json`: the API in [OpenAPI 3.1](https://spec.openapis.org/oas/v3.1.1), built from the very table that routes it. Error models follow
//! [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457). Leaves out the metrics listener.

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::Data;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn, Paths,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::Type;
use utoipa::openapi::security::{OpenIdConnect, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, Info, ObjectBuilder, OpenApi, OpenApiBuilder, Ref, RefOr,
    Required, ResponseBuilder, Schema, ServerBuilder,
};

use super::schemas::{self, text, texts};
use super::scopes;
use crate::app::App;
use crate::server::routes::{ApiRoute, Needs, table};

/// Its path.
pub const PATH: &str = "/openapi.json";

const SCHEME: &str = "access_token";

/// The document.
pub async fn get(app: Data<App>) -> HttpResponse {
    let resource = app.settings.resource.as_str();
    let issuer =
        app.settings.issuers.first().map(|issuer| issuer.join("/.well-known/openid-configuration"));
    match document(resource, issuer.unwrap_or_default()).to_json() {
        Ok(text) => HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/json")).body(text),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

/// The document for a server at `base`, whose tokens come from whom `metadata_url` describes.
pub fn document(base: &str, metadata_url: String) -> OpenApi {
    let mut paths = Paths::new();
    for route in table() {
        paths.add_path_operation(route.path, vec![method(route.method)], operation(&route));
    }
    let scheme = SecurityScheme::OpenIdConnect(OpenIdConnect::new(metadata_url));
    let components = ComponentsBuilder::new()
        .security_scheme(SCHEME, scheme)
        .schema("Problem", problem_schema())
        .schema("WhoAmI", whoami_schema());
    let components = schemas::all()
        .into_iter()
        .fold(components, |components, (name, schema)| components.schema(name, schema));
    OpenApiBuilder::new()
        .info(Info::new(scopes::API_NAME, env!("CARGO_PKG_VERSION")))
        .servers(Some([ServerBuilder::new().url(base.trim_end_matches('/')).build()]))
        .paths(paths)
        .components(Some(components.build()))
        .build()
}

fn operation(route: &ApiRoute) -> Operation {
    let (status, said, schema) = route.answer;
    let mut answer = ResponseBuilder::new().description(said);
    if let Some(schema) = schema {
        answer = answer.content("application/json", content(schema));
    }
    let mut operation = OperationBuilder::new()
        .summary(Some(route.summary))
        .operation_id(Some(route.id))
        .response(status, answer.build());
    if route.path.contains("{id}") {
        let id = ParameterBuilder::new().name("id").parameter_in(ParameterIn::Path);
        operation = operation.parameter(id.required(Required::True).schema(Some(text())));
    }
    for (name, schema) in schemas::query_parameters(route.id) {
        operation = operation.parameter(query(name, schema));
    }
    if let Some(schema) = route.request {
        let body = RequestBodyBuilder::new()
            .content("application/json", content(schema))
            .required(Some(Required::True));
        operation = operation.request_body(Some(body.build()));
    }
    let scopes: &[&str] = match route.needs {
        Needs::Nothing => return operation.build(),
        Needs::AnyToken => &[],
        Needs::Scope(scope) => &[scope],
    };
    for (status, said) in [
        ("400", "Malformed"),
        ("401", "No valid token"),
        ("403", "Not allowed"),
        ("503", "No keys or no store"),
    ] {
        operation = operation.response(status, problem(said));
    }
    if route.path.contains("{id}") {
        operation = operation.response("404", problem("Not there, or not yours"));
    }
    operation.security(SecurityRequirement::new(SCHEME, scopes.iter().copied())).build()
}

fn method(name: &str) -> HttpMethod {
    match name {
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

fn content(schema: &str) -> utoipa::openapi::Content {
    ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build()
}

fn problem(said: &str) -> utoipa::openapi::Response {
    ResponseBuilder::new()
        .description(said)
        .content("application/problem+json", content("Problem"))
        .build()
}

fn query(name: &str, schema: ObjectBuilder) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .schema(Some(schema))
}

fn problem_schema() -> RefOr<Schema> {
    let object = texts(&["title"]).property("type", text()).property("detail", text());
    object.property("status", ObjectBuilder::new().schema_type(Type::Integer)).into()
}

fn whoami_schema() -> RefOr<Schema> {
    let object = texts(&["iss", "sub", "client_id", "scope"]);
    object.property("exp", ObjectBuilder::new().schema_type(Type::Integer)).required("exp").into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_route_is_described_with_the_scope_that_it_asks_for() {
        let document = document(
            "https://api.example",
            "https://id.example/.well-known/openid-configuration".into(),
        );
        let json = serde_json::to_value(&document).unwrap();
        assert!(json["openapi"].as_str().unwrap().starts_with("3.1"));
        for route in table() {
            let operation = &json["paths"][route.path][route.method.to_lowercase()];
            assert!(operation["summary"].is_string(), "{} {}", route.method, route.path);
            match route.needs {
                Needs::Nothing => assert!(operation["security"].is_null()),
                Needs::AnyToken => assert_eq!(operation["security"][0][SCHEME], json!([])),
                Needs::Scope(scope) => assert_eq!(operation["security"][0][SCHEME], json!([scope])),
            }
        }
    }

    #[test]
    fn what_the_route_table_names_is_declared() {
        let document =
            serde_json::to_value(document("https://api.example", String::new())).unwrap();
        for route in table() {
            for schema in [route.request, route.answer.2].into_iter().flatten() {
                let declared = &document["components"]["schemas"][schema];
                assert!(declared.is_object(), "{}: the schema {schema}", route.id);
            }
            if let Needs::Scope(scope) = route.needs {
                assert!(scopes::ALL.contains(&scope), "{}: the scope {scope}", route.id);
            }
        }
    }
}
