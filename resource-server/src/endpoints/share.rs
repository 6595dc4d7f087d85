//! `POST /documents/{id}/share`: needs the scope **and** the owner's clearance, as in [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem `clearance-required`.
//! Leaves out the clearance itself: there is no way yet to ask the owner, so the answer is always that she has not cleared it.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use serde_json::{Map, Value};
use shared_types::Subject;

use super::scopes::ShareDocuments;
use super::{body, document_id};
use crate::app::App;
use crate::error::ApiError;
use crate::guard::bearer::RefusedBecause;
use crate::guard::{BearerError, Granted, Problem, Refusal};
use crate::store::documents;
use crate::store::owner::Owner;

/// Its path.
pub const PATH: &str = "/documents/{id}/share";

/// Bytes of a request.
const MAX_REQUEST_BYTES: usize = 4 * 1024;

/// Checks token, scope, request and ownership, in this order; then the clearance is missing.
pub async fn post(
    granted: Granted<ShareDocuments>,
    app: Data<App>,
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let within = Duration::from_secs(app.settings.http.body_timeout);
    let members =
        body::read_object(&request, payload, &app.guard, MAX_REQUEST_BYTES, within).await?;
    parse_with(&members)?;
    let (owner, id) = (Owner::of(granted.claims()), document_id::parse(id.into_inner())?);
    let found = app.database.read(move |sql| documents::find(sql, &owner, &id)).await?;
    // Another owner's document is not there, and before this is known nothing is said about clearance.
    found.ok_or(ApiError::NotFound)?;
    Err(refuse(&app, &request))
}

fn parse_with(members: &Map<String, Value>) -> Result<Subject, ApiError> {
    let with = members.get("with").and_then(Value::as_str);
    with.and_then(|text| Subject::parse(text).ok()).ok_or(ApiError::BadRequest(
        "The member with must be the other's sub, as /whoami shows it.",
    ))
}

/// 403 and not 401: the token is fine, and clients get a new one on 401.
fn refuse(app: &App, request: &HttpRequest) -> ApiError {
    let base = app.settings.resource.as_str().trim_end_matches('/');
    let error = BearerError::InsufficientAuthorization(Problem::typed(
        StatusCode::FORBIDDEN,
        format!("{base}/errors/clearance-required"),
        "The resource owner has to clear this request",
        "The owner cannot be asked yet.",
    ));
    request.extensions_mut().insert(RefusedBecause::of(&error));
    ApiError::Refused(Refusal::new(error, app.guard.challenge()))
}
