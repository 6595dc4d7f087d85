//! The server: it binds, answers what the table of [`routes`] lists, and stops without dropping a request.
//!
//! The road of a request: [`connections`] seats it → [`edge`] gives it an id and writes the log → `routes` finds its handler → the guard's
//! extractor lets it in → the handler reads the body and asks the store.

pub mod connections;
pub mod edge;
pub mod routes;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::HttpServer;
use actix_web::dev::{Server, ServerHandle};
use actix_web::http::KeepAlive;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, PathConfig};
use aws_lc_rs::rand;
use socket2::{Domain, Socket, Type};
use tokio::task::JoinHandle;
use url::Url;

use crate::app::{App, Ports, StartFault};
use crate::config::Settings;
use crate::error::ApiError;
use crate::metrics;
use crate::tls::ReloadableCert;
use connections::Connections;
use edge::RequestIds;

/// Seconds in which requests in flight are answered at a stop.
const STOP_SECONDS: u64 = 10;
/// Seconds that an idle connection stays open.
const KEEP_ALIVE: u64 = 75;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1_024;

/// A running server. Dropping it does not stop it: call [`stop`](Self::stop).
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    metrics_addr: Option<SocketAddr>,
    app: Data<App>,
    tls: Option<ReloadableCert>,
    servers: Vec<Serving>,
}

/// One listener with its workers.
#[derive(Debug)]
struct Serving {
    handle: ServerHandle,
    ended: JoinHandle<io::Result<()>>,
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

    /// Says "not ready", drains, answers what is in flight (10 s at most) and ends.
    pub async fn stop(self) {
        self.app.drain();
        // A balancer needs this long to notice; until then requests still come, and are answered.
        tokio::time::sleep(Duration::from_secs(self.app.settings.drain)).await;
        for serving in self.servers {
            serving.handle.stop(true).await;
            if let Ok(Err(error)) = serving.ended.await {
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
    let tls = settings.tls.clone().map(ReloadableCert::load).transpose()?;
    let app = Data::new(App::build(settings, ports).await?);
    let mut servers = vec![serve(&app, listener, tls.as_ref()).map_err(|fault| match fault {
        ServeFault::Listen(error) => StartFault::Listen(addr, error),
        ServeFault::Start(fault) => fault,
    })?];
    let mut metrics_addr = None;
    if let Some((listener, addr)) = metrics {
        servers
            .push(serve_metrics(&app, listener).map_err(|error| StartFault::Listen(addr, error))?);
        metrics_addr = Some(addr);
    }
    Ok(Running { addr, metrics_addr, app, tls, servers })
}

enum ServeFault {
    Listen(io::Error),
    Start(StartFault),
}

fn bind(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), StartFault> {
    let bind = || -> io::Result<(TcpListener, SocketAddr)> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        let listener: TcpListener = socket.into();
        let addr = listener.local_addr()?;
        Ok((listener, addr))
    };
    bind().map_err(|error| StartFault::Listen(addr, error))
}

/// Heads, handshakes and idle connections end in time; what a handler reads is bounded in `endpoints/body.rs`.
fn serve(
    app: &Data<App>,
    listener: TcpListener,
    tls: Option<&ReloadableCert>,
) -> Result<Serving, ServeFault> {
    let http = app.settings.http.clone();
    let workers = app.settings.workers;
    let connections = Connections::new(http.max_connections_per_address);
    let ids = Data::new(RequestIds::new(random_u64()));
    let base = Url::parse(app.settings.resource.as_str())
        .map_or_else(|_| String::new(), |url| url.path().trim_end_matches('/').to_owned());
    let app = app.clone();
    let server = HttpServer::new(move || {
        let base = base.clone();
        // A path that is no text names nothing.
        let not_utf8 = PathConfig::default().error_handler(|_, _| ApiError::NotFound.into());
        actix_web::App::new()
            .app_data(app.clone())
            .app_data(ids.clone())
            .app_data(not_utf8)
            .wrap(from_fn(edge::edge))
            .configure(app.guard.mount())
            .configure(move |config| routes::mount(config, &base))
            .default_service(web::to(routes::nothing_here))
    })
    .workers(workers)
    .worker_max_blocking_threads(1)
    .max_connections(http.max_connections.div_ceil(workers))
    .keep_alive(KeepAlive::Timeout(Duration::from_secs(KEEP_ALIVE)))
    .client_request_timeout(Duration::from_secs(http.head_timeout))
    .client_disconnect_timeout(Duration::from_secs(2))
    .tls_handshake_timeout(Duration::from_secs(5))
    .on_connect(move |io, extensions| connections.admit(io, extensions))
    .disable_signals()
    .shutdown_timeout(STOP_SECONDS);
    let server = match tls {
        Some(tls) => {
            server.listen_rustls_0_23(listener, tls.server_config().map_err(ServeFault::Start)?)
        }
        None => server.listen(listener),
    };
    Ok(run(server.map_err(ServeFault::Listen)?.run()))
}

fn serve_metrics(app: &Data<App>, listener: TcpListener) -> io::Result<Serving> {
    let app = app.clone();
    let server = HttpServer::new(move || {
        actix_web::App::new()
            .app_data(app.clone())
            .route(metrics::PATH, web::get().to(metrics::get))
    })
    .workers(1)
    .worker_max_blocking_threads(1)
    .max_connections(64)
    .client_request_timeout(Duration::from_secs(5))
    .disable_signals()
    .shutdown_timeout(1)
    .listen(listener)?;
    Ok(run(server.run()))
}

fn run(server: Server) -> Serving {
    Serving { handle: server.handle(), ended: tokio::spawn(server) }
}

/// Tells this process's request ids from those of others; no secret, so a generator that fails is no fault.
fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    if rand::fill(&mut bytes).is_err() {
        log::debug!("request ids begin with zeros");
    }
    u64::from_be_bytes(bytes)
}
