//! The way of a connection from the listener to the app: a seat, TLS, a pace, HTTP/1.1.
//!
//! `HttpServer` of actix-web would do this, but over streams of its own; only who owns the stream can time every head and every answer.

use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Request};
use actix_service::{
    IntoServiceFactory, Service as _, ServiceFactory, ServiceFactoryExt as _, apply_fn_factory,
    fn_service, map_config,
};
use actix_tls::accept::TlsError;
use actix_tls::accept::rustls_0_23::{Acceptor, TlsStream};
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, ServiceResponse};
use actix_web::http::KeepAlive;
use actix_web::rt::net::TcpStream;
use rustls::ServerConfig;

use crate::connections::{Connections, Seat};
use crate::patience::{Closing, Paced, Transport, marked};
use crate::workers::{End, Stage};

/// Where the library logs, as errors, whatever a stranger sends that is no HTTP. The access log has what was answered.
pub(crate) const LOG_TARGET: &str = "actix_http";

/// How long an idle connection stays open.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// For a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// For the peer to close once everything is said.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A stream and who is at its other end.
type Guest<T> = (Paced<T>, Option<SocketAddr>);

/// Where connections are let in.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    /// For each request head.
    pub(crate) head_timeout: Duration,
    /// Who has how many.
    pub(crate) connections: Arc<Connections>,
    /// How far the listener is on its way to its end.
    pub(crate) end: End,
}

impl Door {
    /// Lets in whoever has a seat.
    pub(crate) fn plain(
        &self,
    ) -> impl ServiceFactory<
        TcpStream,
        Config = (),
        Response = Guest<TcpStream>,
        Error = DispatchError,
        InitError = (),
    > + use<> {
        let door = self.clone();
        fn_service(move |stream: TcpStream| {
            let guest = door.seat(&stream).map(|(seat, peer)| door.guest(stream, seat, peer));
            ready(guest.map_err(DispatchError::Io))
        })
    }

    /// The same after a handshake, for which a seat is needed already.
    pub(crate) fn tls(
        &self,
        mut config: ServerConfig,
    ) -> impl ServiceFactory<
        TcpStream,
        Config = (),
        Response = Guest<TlsStream<TcpStream>>,
        Error = DispatchError,
        InitError = (),
    > + use<> {
        let door = self.clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut acceptor = Acceptor::new(config);
        acceptor.set_handshake_timeout(HANDSHAKE_TIMEOUT);
        let acceptor = acceptor.map_err(|fault| match fault {
            TlsError::Tls(error) => DispatchError::Io(error),
            TlsError::Timeout => DispatchError::SlowRequestTimeout,
            TlsError::Service(never) => match never {},
        });
        apply_fn_factory(acceptor, move |stream: TcpStream, acceptor: &_| {
            let door = door.clone();
            let handshake = door.seat(&stream).map(|seated| (seated, acceptor.call(stream)));
            async move {
                let ((seat, peer), handshake) = handshake.map_err(DispatchError::Io)?;
                Ok(door.guest(handshake.await?, seat, peer))
            }
        })
    }

    /// A seat for whoever is at the other end. Whose address cannot be told gets none; who gets none is hung up on.
    fn seat(&self, stream: &TcpStream) -> io::Result<(Seat, SocketAddr)> {
        let peer = stream.peer_addr()?;
        let seat = self.connections.admit(peer.ip()).ok_or(io::ErrorKind::ConnectionRefused)?;
        Ok((seat, peer))
    }

    fn guest<T: Transport>(&self, stream: T, seat: Seat, peer: SocketAddr) -> Guest<T> {
        (Paced::new(stream, self.head_timeout, self.closing(), seat), Some(peer))
    }

    fn closing(&self) -> Closing {
        let mut stage = self.end.stage.subscribe();
        Box::pin(async move { drop(stage.wait_for(|stage| *stage >= Stage::Leaving).await) })
    }
}

/// Speaks HTTP/1.1 with guests and hands their requests to `app`. Once `is_closed` says that the listener is, answers say
/// that their connections end. At a stop the streams end: the library's own
/// `graceful_shutdown_signal` would close on a request that is read but not begun.
pub(crate) fn http<T, A, F, B>(
    app: A,
    is_closed: Arc<AtomicBool>,
) -> impl ServiceFactory<Guest<T>, Config = (), Response = (), Error = DispatchError, InitError = ()>
where
    T: Transport + 'static,
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
    // What host and scheme requests came to is a matter of settings, not of the connection: the default says nothing.
    let app = map_config(app, |()| AppConfig::default());
    HttpService::build()
        .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
        // Each head is timed by the pace of its connection, the first one too.
        .client_request_timeout(Duration::ZERO)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .on_connect_ext(|stream: &Paced<T>, extensions| {
            extensions.insert(stream.pace());
        })
        .h1(marked(app, is_closed))
}
