//! Listening: sockets that are bound early, connections that end in time, and a stop that answers what is in flight.

use std::any::Any;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{
    Extensions, Server, ServerHandle, ServiceFactory, ServiceRequest, ServiceResponse,
};
use actix_web::http::KeepAlive;
use actix_web::middleware::from_fn;
use actix_web::web::ServiceConfig;
use actix_web::{App, Error, HttpServer};
use rustls::ServerConfig;
use socket2::{Domain, Socket, Type};
use tokio::task::JoinHandle;

use crate::unread;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1_024;
/// How long an idle connection stays open.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// For a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// For the peer to close once everything is said.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Seconds in which requests in flight are answered at a stop.
const STOP_SECONDS: u64 = 10;
/// Connections to the metrics: a few collectors ask now and then.
const METRICS_CONNECTIONS: usize = 64;

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

/// Serves `app`, made once a worker: heads, handshakes and idle connections end in time. How long a handler
/// waits for a body is the app's own; it wraps [`unread::close`], so that no body outlasts its answer.
/// `on_connect` sees each new connection first.
pub fn serve<T, B>(
    app: impl Fn() -> App<T> + Send + Clone + 'static,
    listener: TcpListener,
    tls: Option<ServerConfig>,
    limits: &Limits,
    on_connect: impl Fn(&dyn Any, &mut Extensions) + Send + Sync + 'static,
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
    let server = HttpServer::new(app)
        .workers(limits.workers)
        .worker_max_blocking_threads(1)
        .max_connections(limits.max_connections.div_ceil(limits.workers.max(1)))
        .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
        .client_request_timeout(Duration::from_secs(limits.head_timeout))
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .tls_handshake_timeout(HANDSHAKE_TIMEOUT)
        .on_connect(on_connect)
        .disable_signals()
        .shutdown_timeout(STOP_SECONDS);
    let bound = match tls {
        Some(config) => server.listen_rustls_0_23(listener, config),
        None => server.listen(listener),
    };
    Ok(Serving::start(bound?.run()))
}

/// Serves `routes` to those who collect metrics: one worker, few connections, no TLS.
pub fn serve_metrics(
    listener: TcpListener,
    routes: impl Fn(&mut ServiceConfig) + Send + Clone + 'static,
) -> io::Result<Serving> {
    let server =
        HttpServer::new(move || App::new().wrap(from_fn(unread::close)).configure(routes.clone()))
            .workers(1)
            .worker_max_blocking_threads(1)
            .max_connections(METRICS_CONNECTIONS)
            .client_request_timeout(Duration::from_secs(5))
            .disable_signals()
            .shutdown_timeout(1)
            .listen(listener)?;
    Ok(Serving::start(server.run()))
}
