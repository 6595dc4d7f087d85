//! The server: it binds, answers what the table of [`routes`] lists, and stops without dropping a request.
//!
//! The road of a request: it gets a seat ([`Connections`]) → [`edge`] gives it an id and writes the log → `routes` finds its handler → the guard's
//! extractor lets it in → the handler reads the body and asks the store.

pub mod edge;
pub mod routes;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, PathConfig, ServiceConfig};
use aws_lc_rs::rand;
use rustls::ServerConfig;
use service::connections::Connections;
use service::listener::{self, Limits, Serving};
use service::metrics;
use service::requests::RequestIds;
use service::tls::ReloadableCert;
use service::unread;
use url::Url;

use crate::app::{App, Ports, StartFault};
use crate::config::Settings;
use crate::error::ApiError;

/// What a reload of the certificate is logged as.
const TLS_TARGET: &str = "resource_server::tls";

/// A running server. Dropping it does not stop it: call [`stop`](Self::stop).
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    metrics_addr: Option<SocketAddr>,
    app: Data<App>,
    tls: Option<ReloadableCert>,
    servers: Vec<Serving>,
}

impl Running {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where its metrics are.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_addr
    }

    /// What its handlers use.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Reads certificate and key again. A pair that does not hold is logged, and the old one stays.
    pub fn reload_tls(&self) {
        if let Some(tls) = &self.tls {
            tls.reload();
        }
    }

    /// Says "not ready", drains, and ends as [`Serving::stop`] does: without losing a request.
    pub async fn stop(self) {
        self.app.drain();
        // A balancer needs this long to notice; until then requests still come, and are answered.
        tokio::time::sleep(Duration::from_secs(self.app.settings.drain)).await;
        for serving in self.servers {
            if let Err(error) = serving.stop().await {
                log::warn!(error:%; "a listener ended with a fault");
            }
        }
        self.app.database.close().await;
    }
}

/// Builds the app, binds and answers. Port 0 is any free one: ask [`Running::addr`]. Must be called inside a Tokio runtime.
pub async fn spawn(settings: Settings, ports: Ports) -> Result<Running, StartFault> {
    // Bound first: what knocks while the app is built waits in the backlog instead of being refused.
    let (listener, addr) = bind(settings.listen)?;
    let metrics = settings.metrics_listen.map(bind).transpose()?;
    let tls = settings.tls.clone().map(|files| ReloadableCert::load(files, TLS_TARGET));
    let tls = tls.transpose()?;
    let app = Data::new(App::build(settings, ports).await?);
    let config = tls.as_ref().map(ReloadableCert::server_config).transpose()?;
    let mut servers =
        vec![serve(&app, listener, config).map_err(|error| StartFault::Listen(addr, error))?];
    let mut metrics_addr = None;
    if let Some((listener, addr)) = metrics {
        servers
            .push(serve_metrics(&app, listener).map_err(|error| StartFault::Listen(addr, error))?);
        metrics_addr = Some(addr);
    }
    Ok(Running { addr, metrics_addr, app, tls, servers })
}

fn bind(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), StartFault> {
    listener::bind(addr)
        .and_then(|listener| listener.local_addr().map(|addr| (listener, addr)))
        .map_err(|error| StartFault::Listen(addr, error))
}

/// What bounds heads, handshakes and idle connections is the same for every server; what a handler reads is bounded in `endpoints/body.rs`.
fn serve(app: &Data<App>, listener: TcpListener, tls: Option<ServerConfig>) -> io::Result<Serving> {
    let Settings { workers, resource, http, trusted_proxies, .. } = &app.settings;
    let limits = Limits {
        workers: *workers,
        max_connections: http.max_connections,
        head_timeout: http.head_timeout,
    };
    let connections = Connections::new(http.max_connections_per_address, trusted_proxies.clone());
    let ids = Data::new(RequestIds::new(random_u64()));
    let base = Url::parse(resource.as_str())
        .map_or_else(|_| String::new(), |url| url.path().trim_end_matches('/').to_owned());
    let app = app.clone();
    let app = move || {
        let base = base.clone();
        // A path that is no text names nothing.
        let not_utf8 = PathConfig::default().error_handler(|_, _| ApiError::NotFound.into());
        actix_web::App::new()
            .app_data(app.clone())
            .app_data(ids.clone())
            .app_data(not_utf8)
            .wrap(from_fn(unread::close))
            .wrap(from_fn(edge::edge))
            .configure(app.guard.mount())
            .configure(move |config| routes::mount(config, &base))
            .default_service(web::to(routes::nothing_here))
    };
    listener::serve(app, listener, tls, &limits, connections)
}

fn serve_metrics(app: &Data<App>, listener: TcpListener) -> io::Result<Serving> {
    let app = app.clone();
    let routes = move |config: &mut ServiceConfig| {
        config.app_data(app.clone()).route(metrics::PATH, web::get().to(crate::metrics::get));
    };
    listener::serve_metrics(listener, routes)
}

/// Tells this process's request ids from those of others; no secret, so a generator that fails is no fault.
fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    if rand::fill(&mut bytes).is_err() {
        log::debug!("request ids begin with zeros");
    }
    u64::from_be_bytes(bytes)
}
