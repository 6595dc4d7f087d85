//! One connection with its prepared statements.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Connection, Error, Socket, Statement};

use super::fault;
use super::tls::Encrypted;

/// How long saying goodbye may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Turns that let the runtime see what has arrived, and the driver read it: the one wakes the other. A turn takes about a microsecond.
const GLANCES: usize = 3;

/// An open connection. It makes progress only while its thread waits for an answer.
pub(super) struct Link {
    pub(super) client: Client,
    statements: HashMap<&'static str, Statement>,
    driver: Driver,
}

/// What reads and writes a connection. It ends with it, as soon as its runtime runs: else the server would keep the transaction of a
/// connection that nobody uses any more, with its locks.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Link {
    /// Takes over a connection; call it on the runtime that is to drive it.
    pub(super) fn new(client: Client, connection: Connection<Socket, Encrypted>) -> Self {
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                // The unit that was on its way tells the rest.
                log::warn!(error:% = fault::in_words(&error); "a connection to the database broke");
            }
        });
        Self { client, statements: HashMap::new(), driver: Driver(driver) }
    }

    /// Whether the server is known to have hung up. Lets the driver look first.
    pub(super) async fn is_closed(&self) -> bool {
        glance().await;
        self.client.is_closed()
    }

    /// The statement, prepared on its first use; `true` when that took a round trip.
    pub(super) async fn prepared(&mut self, sql: &'static str) -> Result<(Statement, bool), Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok((statement.clone(), false));
        }
        let statement = self.client.prepare(&numbered(sql)).await?;
        self.statements.insert(sql, statement.clone());
        Ok((statement, true))
    }

    /// Forgets what was prepared: the schema has changed.
    pub(super) fn forget_statements(&mut self) {
        self.statements.clear();
    }

    /// Says goodbye, so that the server does not log a broken connection.
    pub(super) async fn close(self) {
        let Self { client, statements, mut driver } = self;
        drop(statements);
        drop(client);
        // A server that does not listen any more needs no goodbye.
        drop(tokio::time::timeout(FAREWELL, &mut driver.0).await);
    }
}

/// Lets the drivers of this thread do what there is to do.
pub(super) async fn glance() {
    for _ in 0..GLANCES {
        tokio::task::yield_now().await;
    }
}

/// `?1` as PostgreSQL writes it, `$1`. A question mark in a quoted text stays; no operator of PostgreSQL that has one is used.
fn numbered(sql: &str) -> String {
    let mut quoted = false;
    sql.chars()
        .map(|c| match c {
            '\'' => {
                quoted = !quoted;
                c
            }
            '?' if !quoted => '$',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::numbered;

    #[test]
    fn placeholders_are_numbered_by_a_dollar() {
        assert_eq!(numbered("SELECT ?1, '?2', 'it''s ?', ?12"), "SELECT $1, '?2', 'it''s ?', $12");
    }
}
