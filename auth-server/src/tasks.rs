//! What happens without a request: looking for changes, rotating keys, removing what has expired. Ends with the server.
//!
//! A real second wakes both loops; what is due is decided by the injected clock, so a test that moves its clock by a month sees a rotation.

use std::sync::Arc;
use std::time::Duration;

use shared_types::UnixSeconds;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::app::{self, App};
use crate::store::StoreError;
use crate::store::purge::{self, Cutoffs, Table};

/// Seconds between two looks at the rotation plan.
const ROTATION_PERIOD: i64 = 60;
/// Pages of one table that a purge looks at in one round; the next round goes on behind them, at once where it is behind.
const PAGES: usize = 100;

/// The running loops.
#[derive(Debug)]
pub struct Tasks {
    stop: watch::Sender<bool>,
    loops: Vec<JoinHandle<()>>,
}

impl Tasks {
    /// Ends the loops and waits for what they are doing: at most one unit of work each.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for running in self.loops {
            if let Err(error) = running.await {
                log::error!(error:%; "a background task has died");
            }
        }
    }
}

/// Starts the loops on the current runtime. The poll has one of its own: it must not wait for a long round of the others.
pub fn start(app: Arc<App>) -> Tasks {
    let (stop, stopped) = watch::channel(false);
    let loops = vec![
        tokio::spawn(poll_each_second(app.clone(), stopped.clone())),
        tokio::spawn(keep_house(app, stopped)),
    ];
    Tasks { stop, loops }
}

async fn poll_each_second(app: Arc<App>, mut stopped: watch::Receiver<bool>) {
    let mut failing = false;
    while next_second(&mut stopped).await {
        let failed = match app.poll().await {
            Ok(_) => false,
            Err(error) => {
                // Once for an outage, not once a second.
                if !failing {
                    log::warn!(error:%; "cannot look for changes of clients and keys; tokens stop within seconds");
                }
                true
            }
        };
        if failing && !failed {
            log::info!("looking for changes of clients and keys again");
        }
        failing = failed;
    }
}

async fn keep_house(app: Arc<App>, mut stopped: watch::Receiver<bool>) {
    let purge_period = i64::try_from(app.settings.purge.period).unwrap_or(i64::MAX);
    let (mut rotation, mut purging) = (Due::each(ROTATION_PERIOD), Due::each(purge_period));
    let mut behind = false;
    while next_second(&mut stopped).await {
        let now = app.clock.now();
        if rotation.is_due(now) {
            rotation.done(now);
            rotate(&app).await;
        }
        if behind || purging.is_due(now) {
            purging.done(now);
            behind = match purge_round(&app, &stopped).await {
                Ok(behind) => behind,
                Err(error) => {
                    log::warn!(error:%; "expired rows could not be removed");
                    false
                }
            };
        }
    }
}

async fn rotate(app: &App) {
    let changed = match app.rotate_keys().await {
        Ok(steps) => steps,
        Err(error) => {
            log::error!(error:%; "signature keys could not be rotated");
            return;
        }
    };
    for step in &changed {
        log::info!(step:%; "signature keys changed");
    }
    if !changed.is_empty()
        && let Err(error) = app.poll().await
    {
        log::warn!(error:%; "changed signature keys could not be read yet");
    }
}

/// One round over every table, a bounded number of short units each. True where a table has more behind them and half of what was looked at
/// had to go: then rows expire faster than one round a period removes them.
async fn purge_round(app: &App, stopped: &watch::Receiver<bool>) -> Result<bool, StoreError> {
    let longest = app::longest_token(&app.settings, &app.freshness.last_seen());
    let cutoffs = Cutoffs::new(&app.settings.lifetimes, longest, app.clock.now());
    let batch = app.settings.purge.batch.clamp(1, purge::LONGEST_PAGE);
    let mut behind = false;
    for table in Table::ALL {
        let (mut seen, mut removed, mut at_end) = (0, 0, false);
        for _ in 0..PAGES {
            let page =
                app.database.write(move |sql| purge::page(sql, table, &cutoffs, batch)).await?;
            seen += page.seen;
            removed += page.removed;
            at_end = page.at_end;
            if at_end || *stopped.borrow() {
                break;
            }
            // Between two pages whoever waits for the writer has his turn.
            tokio::task::yield_now().await;
        }
        behind |= !at_end && 2 * removed >= seen;
        if removed > 0 {
            log::debug!(table:? = table, removed; "expired rows removed");
        }
    }
    Ok(behind)
}

/// Waits a real second; `false` once the server stops.
async fn next_second(stopped: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        // An error means that whoever could say "stop" is gone, which is the same.
        _ = stopped.wait_for(|stop| *stop) => false,
        () = tokio::time::sleep(Duration::from_secs(1)) => true,
    }
}

/// Something that is done again after a while of the injected clock.
#[derive(Debug)]
struct Due {
    period: i64,
    last: Option<UnixSeconds>,
}

impl Due {
    const fn each(period: i64) -> Self {
        Self { period, last: None }
    }

    /// At first, after each period, and when the clock went back: then nobody knows how long it was.
    fn is_due(&self, now: UnixSeconds) -> bool {
        self.last.is_none_or(|last| now < last || now.has_reached(last.plus(self.period)))
    }

    const fn done(&mut self, now: UnixSeconds) {
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use database::DatabaseUrl;
    use shared_types::{Issuer, JwtId, ManualClock};

    use super::*;
    use crate::app::Ports;
    use crate::config::Settings;
    use crate::random::SeededRandom;
    use crate::store::denied_tokens;

    #[tokio::test]
    async fn a_purge_that_is_behind_goes_on_until_it_is_not() {
        const NOW: UnixSeconds = UnixSeconds::new(2_000_000_000);
        let folder = tempfile::tempdir().unwrap();
        let database = DatabaseUrl::Sqlite(folder.path().join("test.db"));
        let mut settings = Settings::new(Issuer::parse("http://localhost").unwrap(), database);
        settings.purge.batch = 1;
        let clock = Arc::new(ManualClock::new(NOW));
        let ports = Ports { clock, random: Arc::new(SeededRandom::new(7)) };
        let app = App::build(settings, ports).await.unwrap();
        let rows = i64::try_from(PAGES).unwrap() * 2 + 1;
        let deny = app.database.write(move |sql| {
            // In the order of their names the dead ones come first.
            for (name, expires_in) in [("dead", -10_000), ("live", 10_000)] {
                for number in 0..rows {
                    let jti = JwtId::parse(format!("{name}-{number}")).unwrap();
                    denied_tokens::deny(sql, &jti, NOW.plus(expires_in))?;
                }
            }
            Ok::<_, StoreError>(())
        });
        deny.await.unwrap();
        let (_stop, stopped) = watch::channel(false);
        for behind in [true, true, false, false] {
            assert_eq!(purge_round(&app, &stopped).await, Ok(behind));
        }
    }

    #[test]
    fn a_duty_comes_first_then_each_period_and_when_the_clock_goes_back() {
        let at = UnixSeconds::new;
        let mut due = Due::each(60);
        assert!(due.is_due(at(1_000)));
        due.done(at(1_000));
        assert!(!due.is_due(at(1_059)));
        assert!(due.is_due(at(1_060)));
        assert!(due.is_due(at(999)));
    }
}
