//! Servers that are killed in the middle of their work, again and again: what was answered is so, what was not is one way or the other
//! and stays that way, and nothing is ever given twice. Each client keeps a ledger of its own and holds every answer against it.
//!
//! `CRASH_KILLS` is how often (200), `CRASH_SEED` draws the same requests and moments once more, as far as the machine's pace allows.

mod clients;
mod ledger;
#[cfg(test)]
mod ledger_tests;
mod visit;
mod wire;

use std::fmt::Write as _;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::Write as _;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tests::cluster::Cluster;
use tests::engine::{self, Engine};
use tests::http::{Http, try_send};
use tests::realm::{End, Realm};
use tokio::task::JoinSet;

use self::visit::Visit;
use self::wire::{PATIENCE, Run};
use crate::processes::AUTH_SERVER;

const CLIENTS: usize = 32;
/// How often a server is killed unless `CRASH_KILLS` says so.
const KILLS: u64 = 200;
/// One of so many blows hits PostgreSQL where there is one.
const POSTGRES_EVERY: u64 = 11;
/// Effects between a start and the next blow, at most.
const EFFECTS: u32 = 48;
/// Turns of a loop that does nothing, at most, before a blow: some hundred microseconds.
const SPIN: u32 = 8_000;
/// Codes live as long as they may and the retry window is wide: this is about crashes, and a loaded machine is slow.
const SETTINGS: [&str; 8] = [
    "--lifetimes-code",
    "10m",
    "--lifetimes-refresh-retry-window",
    "10m",
    "--lifetimes-refresh-retries",
    RETRIES,
    "--log",
    "warn",
];
/// [`ledger::RETRIES`] as the command line takes it.
const RETRIES: &str = "5";

/// What a run draws from: its number of kills and its seed, both told before anything happens.
struct Plan {
    kills: u64,
    seed: u64,
}

impl Plan {
    fn new(name: &str) -> Self {
        let chance = RandomState::new().build_hasher().finish();
        let plan = Self {
            kills: from_environment("CRASH_KILLS", KILLS),
            seed: from_environment("CRASH_SEED", chance),
        };
        tell(&format!("{name}: CRASH_KILLS={} CRASH_SEED={}", plan.kills, plan.seed));
        plan
    }
}

fn from_environment<T: FromStr>(name: &str, otherwise: T) -> T {
    let Ok(text) = std::env::var(name) else { return otherwise };
    text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}"))
}

/// Past the capture of the test runner: a seed is needed most when a run is cut off.
fn tell(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Declares the people. Everything else is what a realm declares, with access tokens that outlive a slow run.
async fn populate(realm: &mut Realm) {
    realm.end(End::Asked).await;
    let declared = realm.folder().join("state.toml");
    let state = std::fs::read_to_string(&declared).unwrap();
    std::fs::write(&declared, state.replace("\"5m\"", "\"1h\"")).unwrap();
    let mut people = String::new();
    for client in 0..CLIENTS {
        for person in 0..clients::PEOPLE {
            let (name, password) = (clients::username(client, person), clients::PASSWORD);
            writeln!(people, "[[account]]\nusername = \"{name}\"\npassword = \"{password}\"")
                .unwrap();
        }
    }
    std::fs::write(realm.folder().join("people.toml"), people).unwrap();
    let quick = ["apply", "people.toml", "--argon2-memory-kib", "8", "--argon2-iterations", "1"];
    realm.cli(&quick, "");
    realm.restart_ended().await;
}

/// What is killed, and what the kills found.
struct Blows {
    realm: Realm,
    cluster: Option<Arc<Cluster>>,
    run: Arc<Run>,
    dice: ChaCha12Rng,
    /// Kills of the server, and those of PostgreSQL.
    done: [u64; 2],
    /// Kills that found a request under way.
    in_flight: AtomicU64,
    /// What befalls the server's folder while it is down, by the number of the blow.
    meanwhile: fn(&Path, u64),
}

impl Blows {
    /// Prepares a run, and sets the clients to work.
    async fn begin(
        plan: &Plan,
        mut realm: Realm,
        cluster: Option<Arc<Cluster>>,
    ) -> (Self, JoinSet<Vec<Visit>>) {
        populate(&mut realm).await;
        let run = Arc::new(Run::new(&realm.issuer, plan.seed));
        let dice = ChaCha12Rng::seed_from_u64(plan.seed);
        let mut tasks = JoinSet::new();
        for number in 0..CLIENTS {
            tasks.spawn(clients::work(run.clone(), number));
        }
        let (done, in_flight) = ([0; 2], AtomicU64::new(0));
        (Self { realm, cluster, run, dice, done, in_flight, meanwhile: |_, _| {} }, tasks)
    }

    /// Waits for some effects and a moment more, kills, and brings back.
    async fn strike(&mut self, number: u64) {
        self.run.light(i64::from(1 + self.dice.next_u32() % EFFECTS));
        self.run.until_blown().await;
        for _ in 0..self.dice.next_u32() % SPIN {
            std::hint::spin_loop();
        }
        self.run.set_up(false);
        if self.run.in_flight.load(Ordering::Relaxed) > 0 {
            self.in_flight.fetch_add(1, Ordering::Relaxed);
        }
        match self.cluster.clone() {
            Some(cluster) if number % POSTGRES_EVERY == POSTGRES_EVERY - 1 => {
                self.strike_postgres(cluster).await;
            }
            _ => {
                self.realm.end(End::Killed).await;
                self.done[0] += 1;
                self.until_alone().await;
                (self.meanwhile)(self.realm.folder(), number);
                self.realm.restart_ended().await;
            }
        }
        self.run.life.fetch_add(1, Ordering::Relaxed);
        self.run.set_up(true);
    }

    /// Kills PostgreSQL, and every other time the server with it.
    async fn strike_postgres(&mut self, cluster: Arc<Cluster>) {
        cluster.kill();
        self.done[1] += 1;
        let both = self.done[1].is_multiple_of(2);
        if both {
            self.realm.end(End::Killed).await;
        }
        tokio::task::spawn_blocking(move || cluster.begin()).await.unwrap();
        if both {
            self.realm.restart_ended().await;
        } else {
            self.until_ready().await;
        }
    }

    /// A connection of a server that is gone may still be at its last statement.
    async fn until_alone(&self) {
        if self.cluster.is_none() {
            return;
        }
        let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        until("PostgreSQL lets go", async || {
            engine::ask(self.realm.database(), others).await == "0"
        })
        .await;
    }

    async fn until_ready(&self) {
        let (http, url) = (Http::new(), format!("{}/readyz", self.realm.issuer));
        until("the server finds PostgreSQL again", async || {
            let answer = try_send(http.request(reqwest::Method::GET, &url)).await;
            answer.is_ok_and(|answer| answer.status == 200)
        })
        .await;
    }
}

/// Asks again until it is so: neither of those asked calls back.
async fn until(what: &str, so: impl AsyncFn() -> bool) {
    let mut interval = tokio::time::interval(std::time::Duration::from_millis(10));
    let waited = tokio::time::timeout(PATIENCE, async {
        while !so().await {
            interval.tick().await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}

/// The whole run.
async fn survive(plan: Plan, realm: Realm, cluster: Option<Arc<Cluster>>) {
    let extra = if cluster.is_some() { plan.kills / (POSTGRES_EVERY - 1) } else { 0 };
    let (mut blows, mut tasks) = Blows::begin(&plan, realm, cluster).await;
    for number in 0..plan.kills + extra {
        tokio::select! {
            () = blows.strike(number) => {}
            Some(ended) = tasks.join_next() => {
                // It works until it is stopped, so this is the panic of one whose ledger disagrees.
                ended.expect("every client's ledger agrees");
            }
        }
    }
    blows.run.stop();
    let visits: Vec<Visit> = tasks.join_all().await.into_iter().flatten().collect();
    let closed = visits.len();
    close(visits).await;
    let log = blows.realm.log();
    assert!(!log.contains("panicked"), "{log}");
    report(&plan, &blows, closed);
}

/// Looks at every visit once more, some at a time.
async fn close(visits: Vec<Visit>) {
    let mut tasks = JoinSet::new();
    for mut visit in visits {
        if tasks.len() >= CLIENTS {
            tasks.join_next().await.unwrap().expect("every ledger agrees in the end");
        }
        tasks.spawn(async move { visit.close().await });
    }
    tasks.join_all().await;
}

/// Tells what happened, and that it was not nothing.
fn report(plan: &Plan, blows: &Blows, visits: usize) {
    let run = &blows.run;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (acknowledged, unknown) = (count(&run.acknowledged), count(&run.unknown));
    let (verified, settled) = (count(&run.verified), count(&run.settled));
    let (in_flight, [servers, postgres]) = (count(&blows.in_flight), blows.done);
    tell(&format!(
        "killed: server {servers}, PostgreSQL {postgres}; {in_flight} found requests in flight. \
         Visits {visits}; effects acknowledged {acknowledged}, unknown {unknown}; \
         answers verified {verified}, settled {settled}; sign-ins put off {}",
        count(&run.waits)
    ));
    assert!(servers >= plan.kills, "every kill happened");
    assert!(in_flight * 10 >= (servers + postgres) * 9, "kills hit work");
    assert!(acknowledged >= plan.kills * 10, "there was work");
    assert!(unknown >= plan.kills, "kills left something unanswered");
    assert!(settled >= plan.kills / 10, "and it could be told later which way it had gone");
    assert!(verified >= acknowledged / 4, "what was acknowledged was looked at");
}

#[test]
fn the_server_and_the_ledger_agree_on_retries() {
    assert_eq!(RETRIES, ledger::RETRIES.to_string());
}

/// How often a database is put back until somebody has to have noticed.
const FORGOTTEN: u64 = 40;

/// The first time it keeps a copy of the database, from then on it puts that back.
fn forget(folder: &Path, blow: u64) {
    for file in ["auth-server.db", "auth-server.db-wal"] {
        let (file, kept) = (folder.join(file), folder.join(format!("{file}.kept")));
        let (from, to) = if blow == 0 { (file, kept) } else { (kept, file) };
        std::fs::copy(from, to).unwrap();
    }
    // The index of the log that lies there no more.
    std::fs::remove_file(folder.join("auth-server.db-shm")).unwrap();
}

/// The whole of it proves nothing unless a server that does forget is found out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgets_what_it_answered_is_found_out() {
    if Engine::chosen() == Engine::Postgres {
        return;
    }
    let plan = Plan::new("crash with a database put back");
    let realm = Realm::start(AUTH_SERVER, &SETTINGS).await;
    let (mut blows, mut tasks) = Blows::begin(&plan, realm, None).await;
    blows.meanwhile = forget;
    let mut noticed = None;
    // Between two blows there may be nothing to forget: a client's own access token stands in no row.
    for blow in 0..FORGOTTEN {
        tokio::select! {
            () = blows.strike(blow) => {}
            ended = tasks.join_next() => {
                noticed = ended;
                break;
            }
        }
    }
    let ended = noticed.expect("a ledger notices");
    let panic = ended.expect_err("it disagrees").into_panic();
    let said = panic.downcast_ref::<String>().map_or("", String::as_str);
    assert!(said.contains("no possible state explains this"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_answered_survives_the_kills_of_a_server_on_sqlite() {
    if Engine::chosen() == Engine::Postgres {
        return;
    }
    let plan = Plan::new("crash on SQLite");
    let realm = Realm::start(AUTH_SERVER, &SETTINGS).await;
    survive(plan, realm, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_answered_survives_the_kills_of_a_server_and_of_postgresql() {
    let Some(cluster) = Cluster::start("crash on PostgreSQL", &[]) else { return };
    let plan = Plan::new("crash on PostgreSQL");
    let realm = Realm::start_at(AUTH_SERVER, &cluster.url(), &SETTINGS).await;
    survive(plan, realm, Some(Arc::new(cluster))).await;
}
