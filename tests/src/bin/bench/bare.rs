//! The ceilings: what actix-web itself can do on this machine, without middleware, log, limits or metrics.

use std::net::TcpListener;
use std::process::ExitCode;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{App, HttpResponse, HttpServer, web};
use serde::{Deserialize, Serialize};

/// A form of about a hundred bytes, as a token request is.
#[derive(Deserialize)]
struct Form {
    grant_type: String,
    scope: String,
}

/// An answer of about 770 bytes, as a token response is.
#[derive(Serialize)]
struct Tokens<'a> {
    access_token: &'a str,
    token_type: &'a str,
    expires_in: u32,
    scope: &'a str,
}

/// What the sample API's `/whoami` answers, from nowhere.
#[derive(Serialize)]
struct Caller<'a> {
    iss: &'a str,
    sub: &'a str,
    client_id: &'a str,
    scope: String,
    exp: i64,
}

/// Serves on `addr` with one worker until it is killed.
pub fn serve(addr: &str) -> ExitCode {
    let served = TcpListener::bind(addr).and_then(|listener| {
        let server = HttpServer::new(|| {
            App::new()
                .route("/hello", web::get().to(hello))
                .route("/form", web::post().to(form))
                .route("/whoami", web::get().to(whoami))
        });
        actix_web::rt::System::new().block_on(server.workers(1).listen(listener)?.run())
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench bare: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn hello() -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/json")).body(r#"{"ok":true}"#)
}

async fn form(sent: web::Form<Form>) -> HttpResponse {
    let token = "0123456789abcdef".repeat(42);
    HttpResponse::Ok().json(Tokens {
        access_token: &token,
        token_type: if sent.grant_type.is_empty() { "" } else { "Bearer" },
        expires_in: 300,
        scope: &sent.scope,
    })
}

async fn whoami() -> HttpResponse {
    let answer = Caller {
        iss: "http://127.0.0.1:9000",
        sub: "machine",
        client_id: "machine",
        scope: "es256:read".to_owned(),
        exp: 1_800_000_000,
    };
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(serde_json::to_vec(&answer).unwrap_or_default())
}
