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
/// Pages of one table that a purge looks at in one round; the next round goes on behind them.
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
    while next_second(&mut stopped).await {
        let now = app.clock.now();
        if rotation.is_due(now) {
            rotation.done(now);
            rotate(&app).await;
        }
        if purging.is_due(now) {
            purging.done(now);
            if let Err(error) = purge_round(&app, &stopped).await {
                log::warn!(error:%; "expired rows could not be removed");
            }
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

/// One round over every table, a bounded number of short units each.
async fn purge_round(app: &App, stopped: &watch::Receiver<bool>) -> Result<(), StoreError> {
    let longest = app::longest_token(&app.settings, &app.freshness.last_seen());
    let cutoffs = Cutoffs::new(&app.settings.lifetimes, longest, app.clock.now());
    let batch = app.settings.purge.batch.clamp(1, purge::LONGEST_PAGE);
    for table in Table::ALL {
        let mut removed = 0;
        for _ in 0..PAGES {
            let page =
                app.database.write(move |sql| purge::page(sql, table, &cutoffs, batch)).await?;
            removed += page.removed;
            if page.at_end || *stopped.borrow() {
                break;
            }
            // Between two pages whoever waits for the writer has his turn.
            tokio::task::yield_now().await;
        }
        if removed > 0 {
            log::debug!(table:? = table, removed; "expired rows removed");
        }
    }
    Ok(())
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
    use super::*;

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
