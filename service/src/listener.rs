//! Listening: sockets that are bound early, connections that end in time, and a stop that answers what is in flight.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_http::Request;
use actix_service::{IntoServiceFactory, ServiceFactoryExt as _};
use actix_tls::accept::max_concurrent_tls_connect;
use actix_web::body::MessageBody;
use actix_web::dev::{
    AppConfig, Server, ServerHandle, ServiceFactory, ServiceRequest, ServiceResponse,
};
use actix_web::middleware::from_fn;
use actix_web::web::ServiceConfig;
use actix_web::{App, Error};
use rustls::ServerConfig;
use socket2::{Domain, Socket, Type};
use tokio::task::JoinHandle;

use crate::connections::Connections;
use crate::entrance::{self, Door};
use crate::unread;

/// What the threads of a listener are called.
const NAME: &str = "http";
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1_024;
/// Seconds in which requests in flight are answered at a stop.
const STOP_SECONDS: u64 = 10;
/// Connections to the metrics: a few collectors ask now and then.
const METRICS_CONNECTIONS: usize = 64;
/// For one of their heads.
const METRICS_HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// What differs from server to server.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Worker threads.
    pub workers: usize,
    /// Connections at the same time, over all workers.
    pub max_connections: usize,
    /// Seconds for a request head.
    pub head_timeout: u64,
}

/// One listener with its workers. Dropping it does not stop it: call [`stop`](Self::stop).
#[derive(Debug)]
pub struct Serving {
    handle: ServerHandle,
    ended: JoinHandle<io::Result<()>>,
}

impl Serving {
    fn start(server: Server) -> Self {
        Self { handle: server.handle(), ended: tokio::spawn(server) }
    }

    /// Takes no more connections, answers what is in flight (10 s at most) and ends. `Err` if the listener had ended with a fault.
    pub async fn stop(self) -> io::Result<()> {
        self.handle.stop(true).await;
        // A task that was aborted has no outcome, and none that would matter at a stop.
        self.ended.await.unwrap_or(Ok(()))
    }
}

/// Binds early, so that what knocks while the server is put together waits in the backlog instead of being refused.
pub fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves `app`, made once a worker: handshakes, heads, answers and idle connections end in time. How long a handler
/// waits for a body is the app's own; it wraps [`unread::close`], so that no body outlasts its answer.
/// `connections` says who may have one more.
pub fn serve<T, B>(
    app: impl Fn() -> App<T> + Send + Clone + 'static,
    listener: TcpListener,
    tls: Option<ServerConfig>,
    limits: &Limits,
    connections: Arc<Connections>,
) -> io::Result<Serving>
where
    T: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<B>,
            Error = Error,
            InitError = (),
        > + 'static,
    B: MessageBody + 'static,
{
    let bounds = Bounds {
        workers: limits.workers,
        connections: limits.max_connections.div_ceil(limits.workers.max(1)),
        stop_seconds: STOP_SECONDS,
    };
    // A worker in which as many handshakes hang as may take place at once takes nobody else: the seats of connections are the limit.
    max_concurrent_tls_connect(bounds.connections);
    let head_timeout = Duration::from_secs(limits.head_timeout);
    run(app, listener, tls, &bounds, Door { head_timeout, connections })
}

/// Serves `routes` to those who collect metrics: one worker, few connections, no TLS.
pub fn serve_metrics(
    listener: TcpListener,
    routes: impl Fn(&mut ServiceConfig) + Send + Clone + 'static,
) -> io::Result<Serving> {
    let app = move || App::new().wrap(from_fn(unread::close)).configure(routes.clone());
    let bounds = Bounds { workers: 1, connections: METRICS_CONNECTIONS, stop_seconds: 1 };
    let connections = Connections::new(0, Vec::new());
    run(app, listener, None, &bounds, Door { head_timeout: METRICS_HEAD_TIMEOUT, connections })
}

/// How much a listener takes on.
struct Bounds {
    workers: usize,
    /// Of one worker.
    connections: usize,
    stop_seconds: u64,
}

fn run<A, F, B>(
    app: impl Fn() -> A + Send + Clone + 'static,
    listener: TcpListener,
    tls: Option<ServerConfig>,
    bounds: &Bounds,
    door: Door,
) -> io::Result<Serving>
where
    A: IntoServiceFactory<F, Request>,
    F: ServiceFactory<
            Request,
            Config = AppConfig,
            Response = ServiceResponse<B>,
            Error = Error,
            InitError = (),
        > + 'static,
    B: MessageBody + 'static,
{
    let server = Server::build()
        .workers(bounds.workers)
        .worker_max_blocking_threads(1)
        .max_concurrent_connections(bounds.connections)
        .disable_signals()
        .shutdown_timeout(bounds.stop_seconds);
    let signal = server.graceful_shutdown_signal();
    let stopping = move || {
        let signal = signal.clone();
        async move { signal.notified().await }
    };
    let bound = match tls {
        None => server.listen(NAME, listener, move || {
            door.plain().and_then(entrance::http(app(), stopping.clone()))
        }),
        Some(config) => server.listen(NAME, listener, move || {
            door.tls(config.clone()).and_then(entrance::http(app(), stopping.clone()))
        }),
    };
    Ok(Serving::start(bound?.run()))
}
