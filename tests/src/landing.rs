//! Where a client waits for the browser: a page that says that somebody landed, and a memory of what was brought.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use actix_web::dev::ServerHandle;
use actix_web::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};

use crate::background;

/// One arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landed {
    /// How it came.
    pub method: String,
    /// What it brought, in the query or in the form.
    pub params: BTreeMap<String, String>,
}

impl Landed {
    /// A parameter, or the empty text.
    pub fn get(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }
}

type Arrivals = Arc<Mutex<Vec<Landed>>>;

/// A page on a loopback port of its own that has an element `#landed`. It stops when it is dropped.
pub struct Landing {
    /// `http://127.0.0.1:PORT/callback`: any path of this origin does.
    pub url: String,
    arrivals: Arrivals,
    server: ServerHandle,
}

impl fmt::Debug for Landing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Landing").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Landing {
    /// Opens it.
    pub async fn start() -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}/callback", listener.local_addr().unwrap());
        let arrivals = Arrivals::default();
        let data = web::Data::new(Arc::clone(&arrivals));
        let server = background::run(async move {
            let server = HttpServer::new(move || {
                App::new()
                    .app_data(data.clone())
                    .route("/callback", web::route().to(land))
                    .default_service(web::route().to(HttpResponse::NotFound))
            })
            .workers(1)
            .disable_signals()
            .listen(listener)
            .unwrap()
            .run();
            let handle = server.handle();
            tokio::spawn(server);
            handle
        })
        .await;
        Self { url, arrivals, server }
    }

    /// Everybody who has landed so far, the latest last.
    pub fn arrivals(&self) -> Vec<Landed> {
        self.arrivals.lock().unwrap().clone()
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        background::start(self.server.stop(false));
    }
}

async fn land(arrivals: web::Data<Arrivals>, request: HttpRequest, body: Bytes) -> HttpResponse {
    let read = |text| url::form_urlencoded::parse(text).into_owned();
    let params = read(request.query_string().as_bytes()).chain(read(&body)).collect();
    let landed = Landed { method: request.method().to_string(), params };
    arrivals.lock().unwrap().push(landed);
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CONTENT_SECURITY_POLICY, "default-src 'none'"))
        .body("<!doctype html><html lang=en><title>Client</title><main id=landed>Landed")
}
