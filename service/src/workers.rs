//! Threads that serve connections, each connection on one of them from its first byte to its last.
//!
//! `Server` of actix-server would do this, but at a stop it drops connections that were let in and not begun yet.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc as report;
use std::thread;

use actix_http::error::DispatchError;
use actix_service::{Service, ServiceFactory};
use actix_web::rt::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::task::spawn_local;

/// How far a listener is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Connections are let in.
    Open,
    /// Nobody else is let in but who waits already.
    Closing,
    /// Connections end as soon as no request is under way.
    Leaving,
    /// All of them end.
    Over,
}

/// How far a listener is on its way to its end, for all who have to know.
#[derive(Clone, Debug)]
pub(crate) struct End {
    /// Workers and connections wait for this.
    pub(crate) stage: watch::Sender<Stage>,
    /// Whether nobody can connect any more; looked at for each answer.
    pub(crate) is_closed: Arc<AtomicBool>,
}

impl End {
    /// Of a listener that begins.
    pub(crate) fn new() -> Self {
        Self { stage: watch::Sender::new(Stage::Open), is_closed: Arc::default() }
    }
}

/// A connection that was let in, and its place among all of them, if it had to have one.
pub(crate) struct Arrival {
    /// In nonblocking mode.
    pub(crate) stream: net::TcpStream,
    /// Given back at its end.
    pub(crate) place: Option<OwnedSemaphorePermit>,
}

/// Threads that take one connection after the other, in turn.
#[derive(Debug)]
pub(crate) struct Workers {
    lines: Vec<mpsc::UnboundedSender<Arrival>>,
    next: usize,
    ends: Vec<oneshot::Receiver<Infallible>>,
}

impl Workers {
    /// Starts `count` of them and waits until each has made its service with `make`.
    pub(crate) fn start<S>(
        count: usize,
        make: &(impl Fn() -> S + Send + Clone + 'static),
        end: &End,
    ) -> io::Result<Self>
    where
        S: ServiceFactory<
                TcpStream,
                Config = (),
                Response = (),
                Error = DispatchError,
                InitError = (),
            > + 'static,
    {
        let mut workers = Self { lines: Vec::new(), next: 0, ends: Vec::new() };
        let (report, reports) = report::channel();
        for _ in 0..count.max(1) {
            let (line, arrivals) = mpsc::unbounded_channel();
            let (running, ended) = oneshot::channel();
            let (make, stage, report) = (make.clone(), end.stage.subscribe(), report.clone());
            thread::Builder::new().name("http".into()).spawn(move || {
                work(&make, arrivals, stage, &report);
                drop::<oneshot::Sender<Infallible>>(running);
            })?;
            workers.lines.push(line);
            workers.ends.push(ended);
        }
        drop(report);
        for _ in &workers.lines {
            reports.recv().unwrap_or_else(|_| Err(io::Error::other("a worker failed")))?;
        }
        Ok(workers)
    }

    /// Gives a connection to the worker whose turn it is.
    pub(crate) fn serve(&mut self, mut arrival: Arrival) {
        for _ in 0..self.lines.len() {
            self.next = (self.next + 1) % self.lines.len();
            let Some(line) = self.lines.get(self.next) else { continue };
            match line.send(arrival) {
                Ok(()) => return,
                Err(mpsc::error::SendError(returned)) => arrival = returned,
            }
        }
        log::error!("no worker is left to serve a connection");
    }

    /// Returns when the last connection has ended.
    pub(crate) async fn end(self) {
        drop(self.lines);
        for ended in self.ends {
            // Nothing is ever sent: the thread's end is the news.
            drop(ended.await);
        }
    }
}

/// What one thread does: it says whether it could begin, and goes on until its line is closed and its connections have ended.
fn work<S>(
    make: &impl Fn() -> S,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
    mut stage: watch::Receiver<Stage>,
    report: &report::Sender<io::Result<()>>,
) where
    S: ServiceFactory<TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()>,
    S::Service: 'static,
    <S::Service as Service<TcpStream>>::Future: 'static,
{
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build_local(LocalOptions::default());
    // Whoever started the thread waits for its report.
    let told = match runtime {
        Err(error) => report.send(Err(error)),
        Ok(runtime) => runtime.block_on(async {
            let Ok(service) = make().new_service(()).await else {
                return report.send(Err(io::Error::other("a worker cannot make its service")));
            };
            let told = report.send(Ok(()));
            tokio::select! {
                () = serve(service, arrivals) => {}
                _ = stage.wait_for(|stage| *stage == Stage::Over) => {}
            }
            told
        }),
    };
    if told.is_err() {
        log::debug!("a worker was not waited for");
    }
}

async fn serve<S>(service: S, mut arrivals: mpsc::UnboundedReceiver<Arrival>)
where
    S: Service<TcpStream, Response = (), Error = DispatchError>,
    S::Future: 'static,
{
    let (open, mut all_ended) = mpsc::channel::<Infallible>(1);
    while let Some(Arrival { stream, place }) = arrivals.recv().await {
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => {
                log::error!(error:%; "a connection cannot be served");
                continue;
            }
        };
        if let Err(error) = poll_fn(|context| service.poll_ready(context)).await {
            log::error!(error:%; "a connection cannot be served");
            continue;
        }
        let (connection, open) = (service.call(stream), open.clone());
        spawn_local(async move {
            // How a connection ended is told by its access lines, if it asked anything.
            drop(connection.await);
            drop((place, open));
        });
    }
    drop(open);
    all_ended.recv().await;
}
