//! The server: it binds, answers what the table of [`ROUTES`] lists, and stops without dropping a request.

mod edge;
mod routes;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use service::connections::Connections;
use service::listener::{self, Limits, Serving};
use service::metrics;
use service::requests::RequestIds;
use service::tls::ReloadableCert;
use service::unread;

pub use routes::{Entry, Place, ROUTES, offers, routes};

use crate::app::{App, Lifecycle, Ports, StartFault};
use crate::config::Settings;
use crate::endpoints::metadata;
use crate::random;
use crate::tasks::{self, Tasks};

/// What a reload of the certificate is logged as.
const TLS_TARGET: &str = "auth_server::tls";

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

    /// Says "not ready", drains, and ends as [`Serving::stop`] does: without losing a request.
    pub async fn stop(self) {
        self.lifecycle.drain();
        // A balancer needs this long to notice; until then requests still come, and are answered.
        tokio::time::sleep(Duration::from_secs(self.app.settings.drain)).await;
        for serving in self.servers {
            if let Err(error) = serving.stop().await {
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
    let bind = |addr| listener::bind(addr).map_err(|error| StartFault::Bind(addr, error));
    let listener = bind(settings.listen)?;
    let metrics_listener = settings.metrics_listen.map(bind).transpose()?;
    let tls = settings.tls.clone().map(|files| ReloadableCert::load(files, TLS_TARGET));
    let tls = tls.transpose()?.map(Arc::new);
    let ids = RequestIds::new(u64::from_be_bytes(random::bytes(&random::OsRandom)));
    let lifecycle = Arc::new(Lifecycle::new(ids));
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

/// What bounds heads, handshakes and idle connections is the same for every server; bodies are bounded in `params`.
fn serve(
    app: &Arc<App>,
    lifecycle: &Arc<Lifecycle>,
    listener: TcpListener,
    tls: Option<&ReloadableCert>,
) -> Result<Serving, StartFault> {
    let settings = &app.settings;
    let limits = Limits {
        workers: settings.workers,
        max_connections: settings.http.max_connections,
        head_timeout: settings.http.head_timeout,
    };
    let connections = Connections::new(
        settings.http.max_connections_per_address,
        settings.trusted_proxies.clone(),
    );
    let (app, lifecycle) = (Data::from(app.clone()), Data::from(lifecycle.clone()));
    let documents = Data::new(metadata::Cache::default());
    let offers = Data::new(offers());
    let app = move || {
        let issuer = app.settings.issuer.clone();
        actix_web::App::new()
            .app_data(app.clone())
            .app_data(lifecycle.clone())
            .app_data(documents.clone())
            .app_data(offers.clone())
            .wrap(from_fn(unread::close))
            .wrap(from_fn(edge::edge))
            .configure(move |cfg| routes(cfg, &issuer))
    };
    let tls = tls.map(ReloadableCert::server_config).transpose()?;
    listener::serve(app, listener, tls, &limits, connections).map_err(StartFault::Io)
}

fn serve_metrics(app: &Arc<App>, listener: TcpListener) -> Result<Serving, StartFault> {
    let app = Data::from(app.clone());
    let routes = move |cfg: &mut ServiceConfig| {
        cfg.app_data(app.clone()).route(metrics::PATH, web::get().to(crate::metrics::get));
    };
    listener::serve_metrics(listener, routes).map_err(StartFault::Io)
}
