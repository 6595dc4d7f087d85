//! The HTTP interface as an [OpenAPI 3.1](https://spec.openapis.org/oas/v3.1.0) document: every route, what it takes, and every answer it gives.

mod schemas;
mod table;

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Data;
use shared_types::Issuer;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Paths, RefOr,
    Required, Response, ResponseBuilder, Server,
};

use self::table::{Answer, Body, CLIENT, Named, USES, Use};
use crate::app::App;
use crate::endpoints::{Offer, Offers};

/// Where it is.
pub const PATH: &str = "/openapi.json";

/// The document.
pub async fn get(app: Data<App>, offers: Data<Offers>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "public, max-age=300"))
        .json(describe(&app.settings.issuer, &offers))
}

/// The document for an issuer: only what is routed.
pub fn describe(issuer: &Issuer, offers: &Offers) -> OpenApi {
    let mut paths = Paths::new();
    for row in &USES {
        let is_its = |offer: &&Offer| offer.path == row.path && offer.method == row.method;
        let Some(offer) = offers.0.iter().find(is_its) else { continue };
        let method = if row.method == Method::POST { HttpMethod::Post } else { HttpMethod::Get };
        let mut operation = row.operation();
        if offer.at_root {
            operation.servers = Some(vec![Server::new(issuer.origin())]);
        }
        paths.add_path_operation(row.path, vec![method], operation);
    }
    let info = InfoBuilder::new()
        .title("auth-server")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("An authorization server: OAuth 2.1 and OpenID Connect"));
    let http = |scheme| SecurityScheme::Http(HttpBuilder::new().scheme(scheme).build());
    let components = ComponentsBuilder::new()
        .security_scheme("client_secret_basic", http(HttpAuthScheme::Basic))
        .security_scheme("access_token", http(HttpAuthScheme::Bearer));
    let components = schemas::all()
        .into_iter()
        .fold(components, |components, (name, schema)| components.schema(name, schema));
    OpenApiBuilder::new()
        .info(info.build())
        .servers(Some([Server::new(issuer.as_str())]))
        .paths(paths)
        .components(Some(components.build()))
        .build()
}

impl Use {
    fn operation(&self) -> Operation {
        let mut operation = OperationBuilder::new()
            .tag(self.tag)
            .operation_id(Some(operation_id(&self.method, self.path)))
            .summary(Some(self.summary));
        if !self.query.is_empty() {
            operation = operation.parameters(Some(self.query.iter().map(in_query)));
        }
        if !self.form.is_empty() {
            operation = operation.request_body(Some(form(self.form, self.path)));
        }
        for answer in self.answers.iter().copied().flatten() {
            operation = operation.response(answer.0.to_string(), response(answer));
        }
        let scopes: [&str; 0] = [];
        for scheme in self.security {
            operation = operation.security(SecurityRequirement::new(*scheme, scopes));
        }
        if self.security == CLIENT {
            operation = operation.security(SecurityRequirement::default());
        }
        operation.build()
    }
}

fn response((_, description, body): &Answer) -> Response {
    let response = ResponseBuilder::new().description(*description);
    let (media_type, schema): (_, RefOr<Schema>) = match body {
        Body::Nothing => return response.build(),
        Body::Page => ("text/html", ObjectBuilder::new().schema_type(Type::String).into()),
        Body::Json(media_type, Some(name)) => (*media_type, schemas::reference(name)),
        Body::Json(media_type, None) => {
            (*media_type, ObjectBuilder::new().schema_type(Type::Object).into())
        }
    };
    response.content(media_type, ContentBuilder::new().schema(Some(schema)).build()).build()
}

/// `post_token`, `get_well_known_openid_configuration`.
fn operation_id(method: &Method, path: &str) -> String {
    let words: String =
        path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let words = words.split('_').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_");
    format!("{}_{words}", method.as_str().to_lowercase())
}

fn in_query((name, required, description): &Named) -> Parameter {
    ParameterBuilder::new()
        .name(*name)
        .parameter_in(ParameterIn::Query)
        .required(if *required { Required::True } else { Required::False })
        .description(Some(*description))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

fn form(fields: &[Named], path: &str) -> RequestBody {
    let object = fields.iter().fold(
        ObjectBuilder::new().schema_type(Type::Object),
        |object, (name, required, about)| {
            let field = ObjectBuilder::new().schema_type(Type::String).description(Some(*about));
            let object = object.property(*name, field);
            if *required { object.required(*name) } else { object }
        },
    );
    let content = ContentBuilder::new().schema(Some(Schema::from(object))).build();
    // The token of userinfo may stand in the header, and then there is no form at all.
    let is_needed = path != super::userinfo::PATH;
    RequestBodyBuilder::new()
        .required(Some(if is_needed { Required::True } else { Required::False }))
        .content("application/x-www-form-urlencoded", content)
        .build()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::server::{ROUTES, offers};

    fn document(issuer: &str) -> Value {
        serde_json::to_value(describe(&Issuer::parse(issuer).unwrap(), &offers())).unwrap()
    }

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let document = document("https://id.example");
        let mut described: Vec<String> = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            described.extend(
                item.as_object()
                    .unwrap()
                    .keys()
                    .map(|name| format!("{} {path}", name.to_uppercase())),
            );
        }
        let mut routed: Vec<String> = ROUTES.iter().map(|entry| format!("{entry:?}")).collect();
        described.sort();
        routed.sort();
        assert_eq!(described, routed);
        assert_eq!(USES.len(), ROUTES.len());
    }

    #[test]
    fn every_answer_says_what_it_holds_and_every_schema_that_is_named_is_there() {
        let document = document("https://id.example");
        for row in &USES {
            let method = row.method.as_str().to_lowercase();
            let operation = &document["paths"][row.path][method];
            for (status, answer) in operation["responses"].as_object().unwrap() {
                for content in
                    answer["content"].as_object().into_iter().flat_map(|all| all.values())
                {
                    let schema = &content["schema"];
                    assert!(schema.is_object(), "{} {status}", row.path);
                    if let Some(name) = schema["$ref"].as_str() {
                        let pointer = name.strip_prefix('#').unwrap();
                        assert!(document.pointer(pointer).is_some(), "{name}");
                    }
                }
            }
            if row.method == Method::POST {
                assert!(operation["requestBody"].is_object(), "{}: no form", row.path);
            }
        }
    }

    #[test]
    fn no_status_of_a_route_stands_twice() {
        for row in &USES {
            let mut seen: Vec<u16> =
                row.answers.iter().copied().flatten().map(|answer| answer.0).collect();
            let all = seen.len();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), all, "{} {}", row.method, row.path);
        }
    }

    #[test]
    fn the_document_is_openapi_3_1_and_names_the_issuer() {
        let document = document("https://id.example/tenant");
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        assert_eq!(document["servers"][0]["url"], "https://id.example/tenant");
        let token = &document["paths"]["/token"]["post"];
        assert_eq!(token["operationId"], "post_token");
        let form = &token["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"];
        assert_eq!(form["required"], json!(["grant_type"]));
        let probe = &document["paths"]["/healthz"]["get"];
        assert_eq!(probe["servers"][0]["url"], "https://id.example", "it stands at the root");
    }
}
