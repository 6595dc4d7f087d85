//! The one place that reads a body: bounded in size and time, strict JSON ([RFC 8259](https://www.rfc-editor.org/rfc/rfc8259)), no member twice. Called after the token is checked.

use std::time::Duration;

use actix_web::http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue,
};
use actix_web::web::{Bytes, BytesMut, Payload};
use actix_web::{HttpMessage as _, HttpRequest};
use futures_util::StreamExt as _;
use serde_json::{Map, Value};
use shared_types::json;

use crate::error::ApiError;
use crate::guard::bearer::has_access_token;
use crate::guard::{BearerError, Guard, Refusal};

/// The longest form that is looked at only to refuse it, in bytes.
const MAX_FORM_BYTES: usize = 64 * 1024;

const TOO_LARGE: ApiError = ApiError::TooLarge("The body is too long.");

/// Reads a JSON object of at most `limit` bytes within `within`.
pub async fn read_object(
    request: &HttpRequest,
    payload: Payload,
    guard: &Guard,
    limit: usize,
    within: Duration,
) -> Result<Map<String, Value>, ApiError> {
    check_headers(request.headers())?;
    match request.content_type().to_ascii_lowercase().as_str() {
        "application/json" => {}
        "application/x-www-form-urlencoded" => {
            let form = read(request, payload, MAX_FORM_BYTES, within).await?;
            return Err(refuse_form(&form, guard));
        }
        _ => return Err(ApiError::UnsupportedMediaType),
    }
    let bytes = read(request, payload, limit, within).await?;
    json::parse_object(&bytes).map_err(|_| {
        ApiError::BadRequest("The body is not one JSON object without repeated members.")
    })
}

/// One media type and no compression: two readers of one body must not see two texts, and a limit of the bytes sent must be one of
/// the bytes read.
fn check_headers(headers: &HeaderMap) -> Result<(), ApiError> {
    if headers.get_all(CONTENT_TYPE).nth(1).is_some() {
        return Err(ApiError::BadRequest("The header Content-Type is repeated."));
    }
    let identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(CONTENT_ENCODING).all(identity) {
        return Err(ApiError::UnsupportedMediaType);
    }
    Ok(())
}

/// "Clients MUST NOT use more than one method to transmit the token in each request" (RFC 6750 section 2): whoever comes here has sent
/// one in the header already.
fn refuse_form(form: &[u8], guard: &Guard) -> ApiError {
    if !has_access_token(form) {
        return ApiError::UnsupportedMediaType;
    }
    let error = BearerError::InvalidRequest(
        "An access token in the body is not accepted beside one in the header.",
    );
    ApiError::Refused(Refusal::new(error, guard.challenge()))
}

async fn read(
    request: &HttpRequest,
    payload: Payload,
    limit: usize,
    within: Duration,
) -> Result<Bytes, ApiError> {
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced
        .and_then(|text| text.parse::<u64>().ok())
        .is_some_and(|length| length > limit as u64)
    {
        return Err(TOO_LARGE);
    }
    tokio::time::timeout(within, collect(payload, limit))
        .await
        .unwrap_or(Err(ApiError::BodyTimeout))
}

async fn collect(mut payload: Payload, limit: usize) -> Result<Bytes, ApiError> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| ApiError::BadRequest("The body ended early."))?;
        if bytes.len() + chunk.len() > limit {
            return Err(TOO_LARGE);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}
