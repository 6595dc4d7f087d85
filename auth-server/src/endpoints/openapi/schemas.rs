//! What goes in and out as JSON, as schemas of [OpenAPI 3.1](https://spec.openapis.org/oas/v3.1.0): one for each body that an endpoint writes.
//!
//! Every member that is ever written stands here; cases hold real answers against it.

use serde_json::{Value, json};
use shared_types::ErrorCode;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, ObjectBuilder, OneOfBuilder, Type,
};
use utoipa::openapi::{RefOr, Schema};

use crate::domain::account::standard_claims;

/// Every schema by its name.
pub(super) fn all() -> [(&'static str, RefOr<Schema>); 8] {
    [
        ("Error", error()),
        ("Token", token()),
        ("Introspection", introspection()),
        ("UserInfo", userinfo()),
        ("Jwk", jwk()),
        ("JwkSet", object(&["keys"], vec![("keys", list(reference("Jwk")))])),
        ("Metadata", metadata()),
        ("Status", object(&["status"], vec![("status", text())])),
    ]
}

/// RFC 6749 section 5.2.
fn error() -> RefOr<Schema> {
    let codes = ErrorCode::ALL.iter().map(|code| code.as_str());
    let code = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes));
    object(&["error"], vec![("error", code.into()), ("error_description", text())])
}

/// RFC 6749 section 5.1, OpenID Connect Core section 3.1.3.3.
fn token() -> RefOr<Schema> {
    object(
        &["access_token", "token_type", "expires_in", "scope"],
        vec![
            ("access_token", text()),
            ("token_type", one_of_texts(["Bearer"])),
            ("expires_in", described(Type::Integer, "Seconds")),
            ("scope", text()),
            ("refresh_token", text()),
            ("id_token", text()),
        ],
    )
}

/// RFC 7662 section 2.2. Nothing but `active` for a token that does not count.
fn introspection() -> RefOr<Schema> {
    let mut members = vec![
        ("active", simple(Type::Boolean)),
        ("token_type", one_of_texts(["Bearer"])),
        ("aud", OneOfBuilder::new().item(text()).item(list(text())).into()),
    ];
    members.extend(["scope", "client_id", "sub", "iss", "jti", "acr"].map(|name| (name, text())));
    members.extend(["exp", "iat", "nbf", "auth_time"].map(|name| (name, moment())));
    object(&["active"], members)
}

/// OpenID Connect Core section 5.3.2: `sub`, and of the standard claims (section 5.1) those that the granted scopes let out.
fn userinfo() -> RefOr<Schema> {
    let claim = |name: &str| match name {
        "email_verified" | "phone_number_verified" => simple(Type::Boolean),
        "address" => simple(Type::Object),
        "updated_at" => moment(),
        _ => text(),
    };
    let object = standard_claims().fold(
        ObjectBuilder::new().schema_type(Type::Object).property("sub", text()).required("sub"),
        |object, name| object.property(name, claim(name)),
    );
    // A claim may carry a language tag (section 5.2).
    object.additional_properties(Some(AdditionalProperties::FreeForm(true))).into()
}

/// RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2.
fn jwk() -> RefOr<Schema> {
    let mut members = vec![("kty", one_of_texts(["RSA", "EC", "OKP"]))];
    members.extend(["kid", "alg", "crv", "x", "y", "n", "e"].map(|name| (name, text())));
    members.push(("use", one_of_texts(["sig"])));
    object(&["kty", "kid", "alg", "use"], members)
}

/// RFC 8414 section 2, OpenID Connect Discovery section 3, RFC 9207, RFC 9728 section 4.
fn metadata() -> RefOr<Schema> {
    const URLS: [&str; 8] = [
        "authorization_endpoint",
        "token_endpoint",
        "jwks_uri",
        "userinfo_endpoint",
        "introspection_endpoint",
        "revocation_endpoint",
        "end_session_endpoint",
        "issuer",
    ];
    const LISTS: [&str; 14] = [
        "scopes_supported",
        "response_types_supported",
        "response_modes_supported",
        "grant_types_supported",
        "token_endpoint_auth_methods_supported",
        "introspection_endpoint_auth_methods_supported",
        "revocation_endpoint_auth_methods_supported",
        "code_challenge_methods_supported",
        "subject_types_supported",
        "id_token_signing_alg_values_supported",
        "claims_supported",
        "prompt_values_supported",
        "acr_values_supported",
        "protected_resources",
    ];
    const SWITCHES: [&str; 4] = [
        "claims_parameter_supported",
        "request_parameter_supported",
        "request_uri_parameter_supported",
        "authorization_response_iss_parameter_supported",
    ];
    let urls = URLS.into_iter().map(|name| (name, text()));
    let lists = LISTS.into_iter().map(|name| (name, list(text())));
    let switches = SWITCHES.into_iter().map(|name| (name, simple(Type::Boolean)));
    object(&["issuer", "response_types_supported"], urls.chain(lists).chain(switches).collect())
}

/// The schema with this name.
pub(super) fn reference(name: &str) -> RefOr<Schema> {
    utoipa::openapi::Ref::from_schema_name(name).into()
}

fn object(required: &[&str], members: Vec<(&str, RefOr<Schema>)>) -> RefOr<Schema> {
    let object = members
        .into_iter()
        .fold(ObjectBuilder::new().schema_type(Type::Object), |object, (name, schema)| {
            object.property(name, schema)
        });
    required.iter().fold(object, |object, name| object.required(*name)).into()
}

fn simple(kind: Type) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(kind).into()
}

fn described(kind: Type, about: &str) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(kind).description(Some(about)).into()
}

fn text() -> RefOr<Schema> {
    simple(Type::String)
}

fn moment() -> RefOr<Schema> {
    described(Type::Integer, "Seconds since 1970 in UTC")
}

fn list(items: RefOr<Schema>) -> RefOr<Schema> {
    ArrayBuilder::new().items(items).into()
}

fn one_of_texts<const N: usize>(texts: [&str; N]) -> RefOr<Schema> {
    let texts: [Value; N] = texts.map(|text| json!(text));
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(texts)).into()
}

#[cfg(test)]
mod tests {
    use shared_types::metadata::AuthorizationServerMetadata;

    use super::*;

    #[test]
    fn every_member_of_the_metadata_is_described() {
        let (text, texts) = (Some("x".to_owned()), vec!["x".to_owned()]);
        let full = AuthorizationServerMetadata {
            authorization_endpoint: text.clone(),
            token_endpoint: text.clone(),
            jwks_uri: text.clone(),
            userinfo_endpoint: text.clone(),
            introspection_endpoint: text.clone(),
            revocation_endpoint: text.clone(),
            end_session_endpoint: text,
            scopes_supported: texts.clone(),
            response_modes_supported: texts.clone(),
            acr_values_supported: texts.clone(),
            protected_resources: texts,
            ..AuthorizationServerMetadata::default()
        };
        let schema = serde_json::to_value(metadata()).unwrap();
        for name in serde_json::to_value(full).unwrap().as_object().unwrap().keys() {
            assert!(schema["properties"][name].is_object(), "{name}");
        }
    }
}
