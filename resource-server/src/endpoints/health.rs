//! `GET /healthz` (the process answers) and `GET /readyz` (it can check tokens and reach its store). No RFC: what orchestrators expect.
//! See [RFC 9110 section 15.6.4](https://www.rfc-editor.org/rfc/rfc9110#section-15.6.4) for the 503.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::RETRY_AFTER;
use actix_web::web::Data;
use serde_json::json;

use crate::app::App;
use crate::store;

/// Alive.
pub const HEALTHZ: &str = "/healthz";
/// Ready.
pub const READYZ: &str = "/readyz";
/// How long the store may take to answer: who asks wants to know now.
const PATIENCE: Duration = Duration::from_secs(5);

/// Alive: nothing is looked at.
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// Ready once the keys of some issuer are there: with several issuers, the outage of one must not take the others' clients down too. Each
/// issuer's state and the age of its keys are shown.
pub async fn readyz(app: Data<App>) -> HttpResponse {
    let keys = app.guard.key_status();
    let reached = tokio::time::timeout(PATIENCE, app.database.read(store::reach));
    let database = app.database.is_healthy() && matches!(reached.await, Ok(Ok(())));
    let ready = database && !app.is_draining() && keys.iter().any(|status| status.usable);
    let status = match (ready, app.is_draining()) {
        (true, _) => "ready",
        (false, true) => "stopping",
        (false, false) => "not ready",
    };
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    if !ready {
        response.insert_header((RETRY_AFTER, "1"));
    }
    response.json(json!({ "status": status, "database": database, "issuers": keys }))
}
