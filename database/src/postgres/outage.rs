//! Whether the server is away, as all threads of one engine know it, and the thread that finds out when it is back.
//!
//! ```text
//! up ── a worker gets no answer ──> suspected ── no answer within half a second, or none can be had ──> away
//!  ^                                    │                                                                 │
//!  └──────────────── the prober has a connection ─────────────────────────────────────────────────────────┘
//! ```
//! So a server that is away costs each job that was under way its own time, and every later one none.

use std::fmt::Display;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use super::connector::{Connector, NoLink};
use super::link::Link;
use crate::{DatabaseError, clock};

/// How long a server that one worker got no answer from may take to give the prober one, before it counts as away for all.
const SUSPENSE: Duration = Duration::from_millis(500);
/// The longest pause between two tries to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

const AWAY: DatabaseError = DatabaseError::Unavailable("the database server is away");

/// How long to wait after that many failures in a row, the one just now not counted.
pub(super) fn pause_after(failures: u32) -> Duration {
    Duration::from_millis(50 << failures.min(6)).min(LONGEST_PAUSE)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Up,
    Suspected,
    Away,
}

struct State {
    health: Health,
    /// Outages so far. A connection from before the last one is not trusted: the host that it leads to may be gone for good.
    outages: u64,
}

/// What everybody knows.
struct Watch {
    state: Mutex<State>,
    settled: Condvar,
}

impl Watch {
    /// No foreign code runs under the lock, so a poisoned state is still whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn away(&self, why: &dyn Display) {
        let mut state = self.state();
        if state.health != Health::Away {
            (state.health, state.outages) = (Health::Away, state.outages.saturating_add(1));
            log::error!(error:% = why; "the database server is away");
        }
        drop(state);
        self.settled.notify_all();
    }

    fn back(&self) {
        let mut state = self.state();
        if std::mem::replace(&mut state.health, Health::Up) == Health::Away {
            log::info!("the database server is back");
        }
        drop(state);
        self.settled.notify_all();
    }
}

/// A worker's part in it. Once all are dropped the prober ends.
#[derive(Clone)]
pub(super) struct Lookout {
    watch: Arc<Watch>,
    alarm: UnboundedSender<()>,
}

impl Lookout {
    /// How many outages there have been, unless there is one now. Of a server under suspicion the verdict is awaited, at most until
    /// `deadline`.
    pub(super) fn outages(&self, deadline: Instant) -> Result<u64, DatabaseError> {
        let left = deadline.saturating_duration_since(clock::now());
        let state = self.watch.state();
        let suspected = |state: &mut State| state.health == Health::Suspected;
        let waited = self.watch.settled.wait_timeout_while(state, left, suspected);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.health == Health::Up { Ok(state.outages) } else { Err(AWAY) }
    }

    /// Says that the server did not answer somebody who had found that many outages; what is older than the last one is no news.
    pub(super) fn suspect(&self, outages: u64) -> DatabaseError {
        let mut state = self.watch.state();
        let is_news = state.health == Health::Up && state.outages == outages;
        // Without a prober each job finds out for itself.
        if is_news && self.alarm.send(()).is_ok() {
            state.health = Health::Suspected;
        }
        AWAY
    }
}

/// The one that asks a server which is away.
pub(super) struct Prober {
    watch: Arc<Watch>,
    alarms: UnboundedReceiver<()>,
    connector: Arc<Connector>,
    runtime: Runtime,
}

impl Prober {
    /// With the lookout that the workers share.
    pub(super) fn new(connector: Arc<Connector>) -> Result<(Self, Lookout), DatabaseError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| DatabaseError::Open(error.to_string()))?;
        let (alarm, alarms) = unbounded_channel();
        let state = Mutex::new(State { health: Health::Up, outages: 0 });
        let watch = Arc::new(Watch { state, settled: Condvar::new() });
        let lookout = Lookout { watch: Arc::clone(&watch), alarm };
        Ok((Self { watch, alarms, connector, runtime }, lookout))
    }

    /// Waits for alarms until the workers are gone.
    pub(super) fn serve(self) {
        let Self { watch, mut alarms, connector, runtime } = self;
        runtime.block_on(async {
            while alarms.recv().await.is_some() {
                tokio::select! {
                    () = until_back(&watch, &connector) => {}
                    // Nobody raises an alarm before the last one is over: the workers are gone.
                    _ = alarms.recv() => return,
                }
            }
        });
    }
}

/// Tries again and again. A server that answers is there, also when it has no room for one more or does not want us: then those that
/// have a connection go on, and the others learn its reason.
async fn until_back(watch: &Watch, connector: &Connector) {
    let mut failures = 0;
    loop {
        match probe(watch, connector).await {
            Ok(link) => {
                watch.back();
                return link.close().await;
            }
            Err(NoLink::Refused(..)) => return watch.back(),
            Err(NoLink::Away(why)) => watch.away(&why),
        }
        clock::rest(pause_after(failures)).await;
        failures = failures.saturating_add(1);
    }
}

async fn probe(watch: &Watch, connector: &Connector) -> Result<Link, NoLink> {
    let mut asking = std::pin::pin!(connector.connect());
    if let Ok(answer) = timeout(SUSPENSE, &mut asking).await {
        return answer;
    }
    watch.away(&"it does not answer");
    asking.await
}
