//! `GET /openapi.json`: the API in [OpenAPI 3.1](https://spec.openapis.org/oas/v3.1.1), built from the very table that routes it. Error models follow
//! [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457). Leaves out the metrics listener.

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::Data;
use url::Url;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn, Paths,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, SchemaType, Type};
use utoipa::openapi::security::{OpenIdConnect, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, Info, ObjectBuilder, OpenApi, OpenApiBuilder, Ref, RefOr,
    Required, ResponseBuilder, Schema, ServerBuilder,
};

use super::schemas::{self, text, texts};
use super::{health, scopes};
use crate::app::App;
use crate::guard::resource_metadata;
use crate::server::routes::{Answer, ApiRoute, Needs, table};

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
    let origin = origin(base);
    for (path, operation) in beside_the_api(base) {
        let operation = operation.servers(Some([ServerBuilder::new().url(&origin).build()]));
        paths.add_path_operation(path, vec![HttpMethod::Get], operation.build());
    }
    let scheme = SecurityScheme::OpenIdConnect(OpenIdConnect::new(metadata_url));
    let components = ComponentsBuilder::new()
        .security_scheme(SCHEME, scheme)
        .schema("Problem", problem_schema())
        .schema("WhoAmI", whoami_schema())
        .schema(
            "OpenApi",
            texts(&["openapi"]).additional_properties(Some(AdditionalProperties::FreeForm(true))),
        )
        .schema("Status", texts(&["status"]))
        .schema("Readiness", readiness_schema())
        .schema("ProtectedResourceMetadata", metadata_schema());
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

/// What stands at the root of the host whatever the path of the resource identifier: probes, and the metadata of RFC 9728.
fn beside_the_api(base: &str) -> [(String, OperationBuilder); 3] {
    let answer = |said: &str, schema| {
        ResponseBuilder::new()
            .description(said)
            .content("application/json", content(schema))
            .build()
    };
    let of = |id: &str, summary: &str, good| {
        OperationBuilder::new()
            .operation_id(Some(id))
            .summary(Some(summary))
            .response("200", answer("Yes", good))
    };
    let readyz = of("readyz", "Can it check tokens and reach its store?", "Readiness")
        .response("503", answer("No", "Readiness"));
    let metadata = of(
        "protectedResourceMetadata",
        "Whose tokens are taken (RFC 9728)",
        "ProtectedResourceMetadata",
    );
    [
        (health::HEALTHZ.to_owned(), of("healthz", "Is the process alive?", "Status")),
        (health::READYZ.to_owned(), readyz),
        (resource_metadata::path(base), metadata),
    ]
}

fn origin(base: &str) -> String {
    Url::parse(base).map_or_else(|_| base.to_owned(), |url| url.origin().ascii_serialization())
}

fn operation(route: &ApiRoute) -> Operation {
    let Answer { status, said, schema } = route.answer;
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
    for (name, schema) in (route.query)() {
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
        ("500", "A fault of the server's own"),
        ("503", "No keys or no store; see Retry-After"),
    ] {
        operation = operation.response(status, problem(said));
    }
    if route.request.is_some() {
        for (status, said) in [
            ("408", "The body did not arrive in time"),
            ("413", "The body or a text in it is too long"),
            ("415", "The body is not JSON, or is compressed"),
        ] {
            operation = operation.response(status, problem(said));
        }
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
    let error = text().description(Some("The error code of RFC 6750, when the token is at fault"));
    object.property("status", integer()).required("status").property("error", error).into()
}

fn whoami_schema() -> RefOr<Schema> {
    let object = texts(&["iss", "sub", "client_id", "scope"]);
    object.property("exp", integer()).required("exp").into()
}

fn readiness_schema() -> RefOr<Schema> {
    let age = ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Integer, Type::Null]))
        .description(Some("Seconds since the keys were fetched; null: never"));
    let issuer = texts(&["issuer"])
        .property("keys", integer())
        .property("age", age)
        .property("usable", boolean());
    let issuer = ["keys", "age", "usable"].into_iter().fold(issuer, ObjectBuilder::required);
    texts(&["status"])
        .property("database", boolean())
        .property("issuers", ArrayBuilder::new().items(issuer.build()))
        .required("database")
        .required("issuers")
        .into()
}

/// RFC 9728 section 2.
fn metadata_schema() -> RefOr<Schema> {
    ["authorization_servers", "scopes_supported", "bearer_methods_supported"]
        .into_iter()
        .fold(texts(&["resource", "resource_name"]), |object, name| {
            object.property(name, ArrayBuilder::new().items(text().build())).required(name)
        })
        .into()
}

fn integer() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer)
}

fn boolean() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Boolean)
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
    fn nothing_is_described_that_is_not_routed() {
        let document = document("https://api.example/v1", String::new());
        let json = serde_json::to_value(&document).unwrap();
        let mut described: Vec<String> = Vec::new();
        for (path, item) in json["paths"].as_object().unwrap() {
            let methods = item.as_object().unwrap().keys();
            described.extend(methods.map(|name| format!("{} {path}", name.to_uppercase())));
        }
        let mut routed: Vec<String> =
            table().iter().map(|route| format!("{} {}", route.method, route.path)).collect();
        let metadata = "GET /.well-known/oauth-protected-resource/v1";
        routed.extend(["GET /healthz", "GET /readyz", metadata].map(str::to_owned));
        described.sort();
        routed.sort();
        assert_eq!(described, routed);
        let probe = &json["paths"]["/healthz"]["get"];
        assert_eq!(probe["servers"][0]["url"], "https://api.example", "it stands at the root");
    }

    #[test]
    fn what_a_body_can_do_wrong_is_told_where_there_is_one() {
        let document = document("https://api.example", String::new());
        let json = serde_json::to_value(&document).unwrap();
        for route in table() {
            let answers = &json["paths"][route.path][route.method.to_lowercase()]["responses"];
            for status in ["408", "413", "415"] {
                let is_told = answers.get(status).is_some();
                assert_eq!(is_told, route.request.is_some(), "{}: {status}", route.id);
            }
        }
    }

    #[test]
    fn what_the_route_table_names_is_declared() {
        let document =
            serde_json::to_value(document("https://api.example", String::new())).unwrap();
        for route in table() {
            for schema in [route.request, route.answer.schema].into_iter().flatten() {
                let declared = &document["components"]["schemas"][schema];
                assert!(declared.is_object(), "{}: the schema {schema}", route.id);
            }
            if let Needs::Scope(scope) = route.needs {
                assert!(scopes::ALL.contains(&scope), "{}: the scope {scope}", route.id);
            }
        }
    }
}
