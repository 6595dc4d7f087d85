//! How one connection is made, the same way by every thread.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::Config;

use super::fault;
use super::link::Link;
use super::tls::Tls;
use super::url::{PostgresUrl, TlsMode};
use crate::{DatabaseError, Options, Synchronous};

/// Seconds after which a server whose host has vanished is noticed: unanswered data, then silence.
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no connection, in words for people.
pub(super) enum NoLink {
    /// Nobody answers, or the server starts or stops: it would be so for everybody.
    Away(String),
    /// The server answers, and has no room or does not want us. What a unit of work is told comes second.
    Refused(String, DatabaseError),
}

impl From<NoLink> for DatabaseError {
    fn from((NoLink::Away(why) | NoLink::Refused(why, _)): NoLink) -> Self {
        Self::Open(why)
    }
}

/// Everything that it takes to connect.
pub(super) struct Connector {
    config: Config,
    tls: Tls,
    setup: String,
    timeout: Duration,
}

impl Connector {
    /// Reads the certificates that the URL names.
    pub(super) fn new(url: &PostgresUrl, options: &Options) -> Result<Self, DatabaseError> {
        let mut config = url.config.clone();
        config
            .connect_timeout(options.connect_timeout)
            .tcp_user_timeout(USER_TIMEOUT)
            .keepalives_idle(USER_TIMEOUT)
            .keepalives_interval(USER_TIMEOUT / 4)
            .keepalives_retries(3);
        if config.get_application_name().is_none() {
            config.application_name(env!("CARGO_PKG_NAME"));
        }
        let tls = match &url.tls {
            TlsMode::Off => Tls::none(),
            TlsMode::Verified { roots } => Tls::verified(roots.as_deref())?,
        };
        Ok(Self { config, tls, setup: setup(options), timeout: options.connect_timeout })
    }

    /// Connects and prepares the session. The returned link is driven by the runtime that this runs on.
    pub(super) async fn connect(&self) -> Result<Link, NoLink> {
        // The driver's own limit covers the socket alone; a server may also accept and then say nothing.
        timeout(self.timeout, self.connect_at_leisure())
            .await
            .unwrap_or_else(|_| Err(NoLink::Away("the server does not answer in time".into())))
    }

    async fn connect_at_leisure(&self) -> Result<Link, NoLink> {
        let (client, connection) =
            self.config.connect(self.tls.clone()).await.map_err(|error| fault::open(&error))?;
        let link = Link::new(client, connection);
        link.client.batch_execute(&self.setup).await.map_err(|error| fault::open(&error))?;
        Ok(link)
    }
}

/// What each session begins with; it must not depend on how the server happens to be configured.
fn setup(options: &Options) -> String {
    let millis = |duration: Duration| duration.as_millis();
    // A server that was told to acknowledge before its disk is told otherwise; one that waits for its replicas goes on doing so.
    let synchronous = match options.synchronous {
        Synchronous::Full => {
            "SELECT set_config('synchronous_commit', 'on', false) \
             WHERE current_setting('synchronous_commit') = 'off'"
        }
        Synchronous::Normal => "SET synchronous_commit = off",
    };
    format!(
        "SET statement_timeout = {}; SET lock_timeout = {}; \
         SET idle_in_transaction_session_timeout = {}; SET client_min_messages = warning; {synchronous}",
        millis(options.statement_timeout),
        millis(options.lock_timeout),
        millis(options.statement_timeout + options.lock_timeout),
    )
}
