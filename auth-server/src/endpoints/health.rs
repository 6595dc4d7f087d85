//! `/healthz`: the process is alive. `/readyz`: it can do its work now. Neither says in public what is wrong: the log does.

use actix_web::HttpResponse;
use actix_web::http::header::RETRY_AFTER as RETRY_AFTER_HEADER;
use actix_web::web::Data;
use serde_json::json;

use crate::app::{App, Lifecycle};
use crate::error::RETRY_AFTER;
use crate::freshness::PATIENCE;
use crate::store::{StoreError, epochs};

/// Alive.
pub const HEALTHZ: &str = "/healthz";
/// Ready.
pub const READYZ: &str = "/readyz";

/// The process answers. Nothing else is asked, so that a slow database does not get it killed.
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "alive" }))
}

/// Whether a balancer should send requests here.
pub async fn readyz(app: Data<App>, lifecycle: Data<Lifecycle>) -> HttpResponse {
    // Who asks wants to know now: a database that says nothing is an answer too.
    let obstacle = tokio::time::timeout(PATIENCE, obstacle(&app, &lifecycle)).await;
    match obstacle.unwrap_or(Some("the database does not answer in time")) {
        None => HttpResponse::Ok().json(json!({ "status": "ready" })),
        Some(why) => {
            log::warn!(why; "not ready");
            HttpResponse::ServiceUnavailable()
                .insert_header((RETRY_AFTER_HEADER, RETRY_AFTER.to_string()))
                .json(json!({ "status": "not ready" }))
        }
    }
}

/// The first thing that keeps it from working.
async fn obstacle(app: &App, lifecycle: &Lifecycle) -> Option<&'static str> {
    if lifecycle.is_draining() {
        return Some("about to stop");
    }
    if !app.database.is_healthy() {
        return Some("the disk has failed");
    }
    let reached: Result<_, StoreError> = app.database.read(|sql| epochs::read(sql)).await;
    if reached.is_err() {
        return Some("the database cannot be read");
    }
    if app.registry().await.is_err() {
        return Some("clients and keys are not fresh");
    }
    if !app.keys.is_ready() {
        return Some("no signing key is ready");
    }
    None
}
