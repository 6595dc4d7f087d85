//! `/healthz`: the process is alive. `/readyz`: it can do its work now. Neither says in public what is wrong: the log does.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde_json::json;

use crate::app::{App, Lifecycle};
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
    match obstacle(&app, &lifecycle).await {
        None => HttpResponse::Ok().json(json!({ "status": "ready" })),
        Some(why) => {
            log::warn!(why; "not ready");
            HttpResponse::ServiceUnavailable().json(json!({ "status": "not ready" }))
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
