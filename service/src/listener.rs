//! Listening: sockets that are bound early, connections that end in time, and a stop that answers what is in flight.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_service::ServiceFactoryExt as _;
use actix_tls::accept::max_concurrent_tls_connect;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::rt::net;
use actix_web::web::ServiceConfig;
use actix_web::{App, Error};
use rustls::ServerConfig;
use socket2::{Domain, Socket, Type};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::connections::Connections;
use crate::entrance::{self, Door};
use crate::unread;
use crate::workers::{Arrival, End, Stage, Workers};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1_024;
/// In which requests in flight are answered at a stop.
const STOP: Duration = Duration::from_secs(10);
/// In which a connection may still bring a request after the listener is closed. Whoever uses it is told by the answer that it closes;
/// so the rest is idle, and will hardly begin one in the very moment in which it is closed.
const GRACE: Duration = Duration::from_secs(1);
/// Handshakes that have begun are completed for so long while the listener closes: a few times what a proxy nearby needs. Who begins
/// one in this time waits for a second, so it is short.
const HANDSHAKES: Duration = Duration::from_millis(10);
/// How long nobody is let in when there are no more files, or the like.
const BACKOFF: Duration = Duration::from_millis(500);
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
    stage: watch::Sender<Stage>,
    accepting: JoinHandle<()>,
    stopping: Stopping,
}

/// How long a stop may take.
#[derive(Clone, Copy, Debug)]
struct Stopping {
    /// Until idle connections end.
    grace: Duration,
    /// Until all others do.
    all: Duration,
}

impl Serving {
    /// Loses no request: whoever waits at the door is let in, and whoever comes later is refused by the system, so that it may go
    /// elsewhere; what is asked within a second is answered; then idle connections are closed, and what is in flight is answered
    /// (10 s at most, all in all). As soon as the listener is closed, answers say that their connections are, too. `Err` if it had failed.
    pub async fn stop(mut self) -> io::Result<()> {
        let Stopping { grace, all } = self.stopping;
        for (next, lasts) in [(Stage::Closing, grace), (Stage::Leaving, all.saturating_sub(grace))]
        {
            self.stage.send_replace(next);
            if let Ok(ended) = timeout(lasts, &mut self.accepting).await {
                return ended.map_err(io::Error::other);
            }
        }
        self.stage.send_replace(Stage::Over);
        self.accepting.await.map_err(io::Error::other)
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
        connections: limits.max_connections,
        stopping: Stopping { grace: GRACE, all: STOP },
    };
    // A worker in which as many handshakes hang as may take place at once takes nobody else: the seats of connections are the limit.
    max_concurrent_tls_connect(bounds.connections);
    let head_timeout = Duration::from_secs(limits.head_timeout);
    let door = Door { head_timeout, connections, end: End::new() };
    match tls {
        None => run(listener, &bounds, door.end.clone(), move || {
            door.plain().and_then(entrance::http(app(), door.end.is_closed.clone()))
        }),
        Some(config) => run(listener, &bounds, door.end.clone(), move || {
            door.tls(config.clone()).and_then(entrance::http(app(), door.end.is_closed.clone()))
        }),
    }
}

/// Serves `routes` to those who collect metrics: one worker, few connections, no TLS.
pub fn serve_metrics(
    listener: TcpListener,
    routes: impl Fn(&mut ServiceConfig) + Send + Clone + 'static,
) -> io::Result<Serving> {
    let app = move || App::new().wrap(from_fn(unread::close)).configure(routes.clone());
    let bounds = Bounds {
        workers: 1,
        connections: METRICS_CONNECTIONS,
        stopping: Stopping { grace: Duration::ZERO, all: Duration::from_secs(1) },
    };
    let connections = Connections::new(0, Vec::new());
    let door = Door { head_timeout: METRICS_HEAD_TIMEOUT, connections, end: End::new() };
    run(listener, &bounds, door.end.clone(), move || {
        door.plain().and_then(entrance::http(app(), door.end.is_closed.clone()))
    })
}

/// How much a listener takes on.
struct Bounds {
    workers: usize,
    /// At the same time, over all workers.
    connections: usize,
    stopping: Stopping,
}

fn run<S>(
    listener: TcpListener,
    bounds: &Bounds,
    end: End,
    make: impl Fn() -> S + Send + Clone + 'static,
) -> io::Result<Serving>
where
    S: ServiceFactory<
            net::TcpStream,
            Config = (),
            Response = (),
            Error = DispatchError,
            InitError = (),
        > + 'static,
{
    let listener = net::TcpListener::from_std(listener)?;
    let workers = Workers::start(bounds.workers, &make, &end)?;
    let places = Arc::new(Semaphore::new(bounds.connections));
    let stage = end.stage.clone();
    let accepting = tokio::spawn(accept(listener, workers, places, end));
    Ok(Serving { stage, accepting, stopping: bounds.stopping })
}

/// Lets connections in until the listener is to close, then who waits already; returns when all of them have ended.
async fn accept(
    listener: net::TcpListener,
    mut workers: Workers,
    places: Arc<Semaphore>,
    end: End,
) {
    let mut stages = end.stage.subscribe();
    tokio::select! {
        biased;
        _ = stages.wait_for(|stage| *stage != Stage::Open) => {}
        () = let_in(&listener, &mut workers, Some(&places)) => {}
    }
    hear_no_more(&listener);
    // Who has no place waits no longer, as nobody comes after them: they are no more than the backlog holds.
    tokio::select! {
        () = let_in(&listener, &mut workers, None) => {}
        () = sleep(HANDSHAKES) => {}
    }
    match listener.into_std() {
        Ok(listener) => {
            while let Ok((stream, _)) = listener.accept() {
                serve_one(&mut workers, stream, None);
            }
        }
        Err(error) => log::error!(error:%; "the listener closes at once"),
    }
    // Not earlier: who is told to connect again finds the listener closed, not closing.
    end.is_closed.store(true, Ordering::Relaxed);
    workers.end().await;
}

/// Lets one after the other in, each when there is a place for it. Never returns; may be dropped at any time.
async fn let_in(
    listener: &net::TcpListener,
    workers: &mut Workers,
    places: Option<&Arc<Semaphore>>,
) {
    loop {
        let place = match places {
            None => None,
            // The semaphore is never closed.
            Some(places) => places.clone().acquire_owned().await.ok(),
        };
        match listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => serve_one(workers, stream, place),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                log::error!(error:%; "no connection can be accepted");
                sleep(BACKOFF).await;
            }
        }
    }
}

fn serve_one(workers: &mut Workers, stream: TcpStream, place: Option<OwnedSemaphorePermit>) {
    match stream.set_nonblocking(true) {
        Ok(()) => workers.serve(Arrival { stream, place }),
        Err(error) => log::error!(error:%; "a connection cannot be served"),
    }
}

/// Whether only the connection failed that would have been the next one.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// From now on the system begins no handshake and ends those that have begun. A listener that is closed at once resets who is between
/// the last look at it and its end, and has perhaps asked already; who is not heard asks again, and is refused then.
#[cfg(target_os = "linux")]
fn hear_no_more(listener: &net::TcpListener) {
    use socket2::{SockFilter, SockRef};
    // A program for the kernel, over a TCP segment: its flags, at byte 13; if SYN is among them keep nothing of it, else all.
    let program = [
        SockFilter::new(0x30, 0, 0, 13),
        SockFilter::new(0x45, 0, 1, 0x02),
        SockFilter::new(0x06, 0, 0, 0),
        SockFilter::new(0x06, 0, 0, u32::MAX),
    ];
    if let Err(error) = SockRef::from(listener).attach_filter(&program) {
        log::debug!(error:%; "the listener closes without a filter");
    }
}

#[cfg(not(target_os = "linux"))]
fn hear_no_more(_: &net::TcpListener) {}
