//! The server: it binds, answers what the table of [`ROUTES`] lists, and stops without dropping a request.

mod connections;
mod edge;
mod routes;

use std::any::Any;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::HttpServer;
use actix_web::dev::{Extensions, ServerHandle};
use actix_web::http::KeepAlive;
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::web::Data;
use ipnet::IpNet;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::task::JoinHandle;

pub use routes::{Entry, Place, ROUTES, is_routed, routes};

use crate::app::{App, Ports, StartFault};
use crate::config::Settings;
use crate::endpoints::metadata;
use crate::metrics;
use crate::random;
use crate::tasks::{self, Tasks};
use crate::tls::ReloadableCert;
use connections::Connections;
use edge::RequestIds;

/// Seconds in which requests in flight are answered at a stop.
const STOP_SECONDS: u64 = 10;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1_024;

/// Where the server is in its life.
#[derive(Debug)]
pub struct Lifecycle {
    draining: AtomicBool,
    ids: RequestIds,
}

impl Lifecycle {
    /// Whether it is about to stop: "not ready", and connections end with their next answer.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// A running server. Dropping it does not stop it: call [`stop`](Self::stop).
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    metrics_addr: Option<SocketAddr>,
    app: Arc<App>,
    lifecycle: Arc<Lifecycle>,
    tls: Option<Arc<ReloadableCert>>,
    servers: Vec<Serving>,
    tasks: Tasks,
}

/// One listener with its workers.
#[derive(Debug)]
struct Serving {
    handle: ServerHandle,
    ended: JoinHandle<io::Result<()>>,
}

impl Running {
    /// Where it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where its metrics are.
    pub const fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_addr
    }

    /// What its handlers use.
    pub const fn app(&self) -> &Arc<App> {
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
        self.lifecycle.draining.store(true, Ordering::Relaxed);
        // A balancer needs this long to notice; until then requests still come, and are answered.
        tokio::time::sleep(Duration::from_secs(self.app.settings.drain)).await;
        for serving in self.servers {
            serving.handle.stop(true).await;
            if let Ok(Err(error)) = serving.ended.await {
                log::warn!(error:%; "a listener ended with a fault");
            }
        }
        self.tasks.stop().await;
        self.app.database.close().await;
    }
}

/// Builds the app, binds and answers. Port 0 is any free one: ask [`Running::addr`].
pub async fn spawn(settings: Settings, ports: Ports) -> Result<Running, StartFault> {
    // Bound first: what knocks while the app is built waits in the backlog instead of being refused.
    let listener = bind(settings.listen)?;
    let metrics_listener = settings.metrics_listen.map(bind).transpose()?;
    let tls = settings.tls.clone().map(ReloadableCert::load).transpose()?.map(Arc::new);
    let ids = RequestIds::new(u64::from_be_bytes(random::bytes(&random::OsRandom)));
    let lifecycle = Arc::new(Lifecycle { draining: AtomicBool::new(false), ids });
    let app = Arc::new(App::build(settings, ports).await?);

    let addr = listener.local_addr().map_err(StartFault::Io)?;
    let mut servers = vec![serve(&app, &lifecycle, listener, tls.as_deref())?];
    let metrics_addr = metrics_listener
        .as_ref()
        .map(TcpListener::local_addr)
        .transpose()
        .map_err(StartFault::Io)?;
    if let Some(listener) = metrics_listener {
        servers.push(serve_metrics(&app, listener)?);
    }
    let tasks = tasks::start(app.clone());
    Ok(Running { addr, metrics_addr, app, lifecycle, tls, servers, tasks })
}

fn bind(addr: SocketAddr) -> Result<TcpListener, StartFault> {
    let bind = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    bind().map_err(|error| StartFault::Bind(addr, error))
}

/// The limits of engine and protocol: heads, handshakes and idle connections end in time.
fn serve(
    app: &Arc<App>,
    lifecycle: &Arc<Lifecycle>,
    listener: TcpListener,
    tls: Option<&ReloadableCert>,
) -> Result<Serving, StartFault> {
    let (http, trusted) = (app.settings.http.clone(), app.settings.trusted_proxies.clone());
    let connections = Connections::new(http.max_connections_per_address, trusted);
    let (app, lifecycle) = (Data::from(app.clone()), Data::from(lifecycle.clone()));
    let documents = Data::new(metadata::Cache::default());
    let workers = app.settings.workers;
    let server = HttpServer::new(move || {
        let issuer = app.settings.issuer.clone();
        actix_web::App::new()
            .app_data(app.clone())
            .app_data(lifecycle.clone())
            .app_data(documents.clone())
            .wrap(from_fn(edge::edge))
            .configure(move |cfg| routes(cfg, &issuer))
    })
    .workers(workers)
    .worker_max_blocking_threads(1)
    .max_connections(http.max_connections)
    .keep_alive(KeepAlive::Timeout(Duration::from_secs(75)))
    .client_request_timeout(Duration::from_secs(http.head_timeout))
    .client_disconnect_timeout(Duration::from_secs(2))
    .tls_handshake_timeout(Duration::from_secs(5))
    .on_connect(move |io, extensions| seat(&connections, io, extensions))
    .disable_signals()
    .shutdown_timeout(STOP_SECONDS);
    let bound = match tls {
        Some(tls) => server.listen_rustls_0_23(listener, tls.server_config()?),
        None => server.listen(listener),
    };
    Ok(run(bound.map_err(StartFault::Io)?.run()))
}

fn serve_metrics(app: &Arc<App>, listener: TcpListener) -> Result<Serving, StartFault> {
    let app = Data::from(app.clone());
    let server = HttpServer::new(move || {
        actix_web::App::new()
            .app_data(app.clone())
            .route(metrics::PATH, actix_web::web::get().to(metrics::get))
    })
    .workers(1)
    .worker_max_blocking_threads(1)
    .max_connections(64)
    .client_request_timeout(Duration::from_secs(5))
    .disable_signals()
    .shutdown_timeout(1)
    .listen(listener);
    Ok(run(server.map_err(StartFault::Io)?.run()))
}

fn run(server: actix_web::dev::Server) -> Serving {
    Serving { handle: server.handle(), ended: tokio::spawn(server) }
}

/// Gives a new connection its seat, or closes it: the address has as many as it may.
fn seat(connections: &Arc<Connections>, io: &dyn Any, extensions: &mut Extensions) {
    let plain = io.downcast_ref::<TcpStream>();
    let stream =
        plain.or_else(|| io.downcast_ref::<TlsStream<TcpStream>>().map(|tls| tls.get_ref().0));
    let Some(stream) = stream else { return };
    let seat = stream.peer_addr().ok().and_then(|peer| connections.admit(peer.ip()));
    match seat {
        // It lives as long as the connection's own data.
        Some(seat) => {
            extensions.insert(seat);
        }
        None => {
            if let Err(error) = SockRef::from(stream).shutdown(std::net::Shutdown::Both) {
                log::debug!(error:%; "a refused connection was gone already");
            }
        }
    }
}

/// Whether `address` is one of the `networks`.
fn is_trusted(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}
