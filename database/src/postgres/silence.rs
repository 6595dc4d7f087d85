//! Claims about a server that says nothing: between it and the database there is a relay that can hold back everything.
//!
//! The server may take an hour for anything here. So a job that waited for it beyond its own deadline would never end.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_postgres::config::Host;

use crate::contract::postgres::PostgresDatabase;
use crate::contract::{Stage, gate, ids, insert, until, with_items};
use crate::job::{Kind, Session};
use crate::{Database, DatabaseError, DatabaseUrl, Options, Sql};

const HOUR: Duration = Duration::from_secs(3_600);

/// One writer and one reader, who take their time; jobs have less.
fn options() -> Options {
    Options {
        writers: 1,
        readers: 1,
        deadline: Duration::from_secs(2),
        connect_timeout: HOUR,
        statement_timeout: HOUR,
        ..Options::default()
    }
}

/// Passes on what a server and its clients say, or holds it back.
struct Relay {
    url: DatabaseUrl,
    /// Connections made to it so far.
    accepted: Arc<AtomicU64>,
    /// Connections from this one on are relayed; none while it stands still.
    relayed_from: watch::Sender<u64>,
}

impl Relay {
    async fn to(server: &DatabaseUrl) -> Self {
        let DatabaseUrl::Postgres(url) = server else { panic!("no server") };
        let Some(Host::Tcp(host)) = url.config.get_hosts().first() else { panic!("no TCP") };
        let target = (host.clone(), url.config.get_ports()[0]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = format!(
            "postgres://{}@{}/{}",
            url.config.get_user().unwrap(),
            listener.local_addr().unwrap(),
            url.config.get_dbname().unwrap()
        );
        let (relayed_from, open) = watch::channel(0);
        let accepted = Arc::new(AtomicU64::new(0));
        tokio::spawn({
            let accepted = Arc::clone(&accepted);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let number = accepted.fetch_add(1, SeqCst);
                    let server = TcpStream::connect(target.clone()).await.unwrap();
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::spawn(pass_on(number, from_client, to_server, open.clone()));
                    tokio::spawn(pass_on(number, from_server, to_client, open.clone()));
                }
            }
        });
        Self { url: here.parse().unwrap(), accepted, relayed_from }
    }

    fn accepted(&self) -> u64 {
        self.accepted.load(SeqCst)
    }

    fn freeze(&self) {
        self.relayed_from.send_replace(u64::MAX);
    }

    fn thaw(&self) {
        self.relayed_from.send_replace(0);
    }

    /// Lets new connections pass only, as if another machine had taken the place of one that is gone.
    fn replace(&self) {
        self.relayed_from.send_replace(self.accepted());
    }
}

async fn pass_on(
    number: u64,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut open: watch::Receiver<u64>,
) {
    let mut buffer = [0; 4_096];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let passes = open.wait_for(|first| number >= *first).await.is_ok();
        if !passes || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// An answer that does not come is a failure, not a hanging test.
async fn in_time<T>(answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), answer).await.expect("an answer")
}

async fn write(database: &Database, id: i64) -> Result<(), DatabaseError> {
    in_time(database.write(move |sql| insert(sql, id))).await
}

async fn read(database: &Database) -> Result<usize, DatabaseError> {
    let all = |sql: &mut dyn Sql| sql.query("SELECT id FROM item", &[]).map(|rows| rows.len());
    in_time(database.read(all)).await
}

#[track_caller]
fn assert_away<T: std::fmt::Debug>(outcome: &Result<T, DatabaseError>) {
    assert!(matches!(outcome, Err(DatabaseError::Unavailable(_))), "{outcome:?}");
}

/// A database behind a relay, both of its workers connected.
async fn behind_a_relay(stage: &PostgresDatabase) -> (Relay, Database) {
    with_items(stage).await.close().await;
    let relay = Relay::to(&stage.url()).await;
    let database = Database::open(&relay.url, &options()).await.unwrap();
    write(&database, 1).await.unwrap();
    assert_eq!(read(&database).await, Ok(1));
    // The reader ends its snapshot behind the answer, and begins nothing before that.
    in_time(database.read(|_| Ok::<_, DatabaseError>(()))).await.unwrap();
    assert_eq!(relay.accepted(), 2);
    (relay, database)
}

#[tokio::test]
async fn once_one_job_has_met_silence_the_others_ask_the_server_nothing() {
    let Some(stage) = PostgresDatabase::empty().await else { return };
    let (relay, database) = behind_a_relay(&stage).await;
    relay.freeze();
    assert_away(&write(&database, 2).await);
    let before = database.statistics().round_trips;
    for id in 3..53 {
        assert_away(&write(&database, id).await);
        assert_away(&read(&database).await);
    }
    assert_eq!(database.statistics().round_trips, before, "nobody waited for the server");
    in_time(until(|| relay.accepted() == 3)).await;
    for _ in 0..50 {
        assert_away(&read(&database).await);
    }
    assert_eq!(relay.accepted(), 3, "one tries to connect, and goes on trying");

    relay.thaw();
    in_time(async { while write(&database, 100).await.is_err() {} }).await;
    assert_eq!(in_time(ids(&database)).await, [1, 100]);
}

#[tokio::test]
async fn a_job_waits_for_a_connection_no_longer_than_its_deadline() {
    let Some(stage) = PostgresDatabase::empty().await else { return };
    with_items(&stage).await.close().await;
    let relay = Relay::to(&stage.url()).await;
    // Only the writer is connected from the start.
    let database = Database::open(&relay.url, &options()).await.unwrap();
    relay.freeze();
    assert_away(&read(&database).await);
    assert_away(&write(&database, 1).await);
    in_time(until(|| relay.accepted() == 3)).await;
    relay.thaw();
    in_time(async { while read(&database).await.is_err() {} }).await;
    write(&database, 2).await.unwrap();
}

/// The server speaks, and takes its time over a statement: longer than a request may, and less than a copy of many rows.
#[tokio::test]
async fn a_request_is_cut_off_at_its_deadline_and_a_copy_is_not() {
    const SLOW: &str = "SELECT count(*) FROM (SELECT pg_sleep(5)) AS t";
    let Some(stage) = PostgresDatabase::empty().await else { return };
    with_items(&stage).await.close().await;
    let database = Database::open(&stage.url(), &options()).await.unwrap();
    assert_away(&in_time(database.read(|sql| sql.query(SLOW, &[]))).await);
    // What did not answer was that statement, not the server.
    in_time(async { while read(&database).await.is_err() {} }).await;
    let copy = |session: &mut dyn Session| session.query(SLOW, &[]);
    let copied = in_time(database.submit(Kind::Read, Location::caller(), copy)).await;
    assert!(copied.is_ok(), "{copied:?}");
}

#[tokio::test]
async fn a_commit_that_is_met_by_silence_is_unknown() {
    let Some(stage) = PostgresDatabase::empty().await else { return };
    let (relay, database) = behind_a_relay(&stage).await;
    let (gate, mut door) = gate();
    let staying = tokio::spawn({
        let database = database.clone();
        let work = move |sql: &mut dyn Sql| {
            insert(sql, 2)?;
            door.pass();
            Ok(())
        };
        async move { database.write(work).await }
    });
    let gate = gate.entered().await;
    relay.freeze();
    gate.open();
    assert_eq!(in_time(staying).await.unwrap(), Err(DatabaseError::OutcomeUnknown));
    assert_away(&write(&database, 3).await);
    relay.thaw();
    in_time(async { while write(&database, 4).await.is_err() {} }).await;
    assert!(database.is_healthy());
}

#[tokio::test]
async fn a_connection_from_before_an_outage_is_not_used_after_it() {
    let Some(stage) = PostgresDatabase::empty().await else { return };
    let (relay, database) = behind_a_relay(&stage).await;
    relay.freeze();
    assert_away(&write(&database, 2).await);
    // Refused once the suspicion is settled.
    assert_away(&read(&database).await);
    in_time(until(|| relay.accepted() == 3)).await;
    relay.thaw();
    in_time(async { while write(&database, 3).await.is_err() {} }).await;
    // What the reader had looks as good as ever, and would never give an answer.
    relay.replace();
    assert_eq!(read(&database).await, Ok(2));
}

#[tokio::test]
async fn a_database_can_be_closed_while_its_server_says_nothing() {
    let Some(stage) = PostgresDatabase::empty().await else { return };
    let (relay, database) = behind_a_relay(&stage).await;
    relay.freeze();
    assert_away(&write(&database, 2).await);
    in_time(until(|| relay.accepted() == 3)).await;
    in_time(database.close()).await;
}

/// A role may have fewer connections than a server wants, as a server may have fewer than all of them want.
#[tokio::test]
async fn without_a_connection_to_be_had_a_job_is_refused_and_who_has_one_goes_on() {
    let Some(stage) = PostgresDatabase::empty().await else { return };
    with_items(&stage).await.close().await;
    let role = format!("few_{}", std::process::id());
    let allow = async |count: u32| {
        stage.command(&format!("ALTER ROLE {role} CONNECTION LIMIT {count}")).await;
    };
    stage.command(&format!("CREATE ROLE {role} LOGIN; GRANT ALL ON item TO {role}")).await;
    allow(1).await;
    let url = stage.url().to_string();
    let (_, place) = url.split_once("://").unwrap();
    let url = format!("postgres://{role}@{place}").parse().unwrap();
    let database = Database::open(&url, &options()).await.unwrap();
    for id in 1..=10 {
        let refused = read(&database).await;
        let short = "the database server is short of disk, memory or connections";
        assert_eq!(refused, Err(DatabaseError::Unavailable(short)));
        write(&database, id).await.unwrap();
    }
    allow(2).await;
    in_time(async { while read(&database).await != Ok(10) {} }).await;
    database.close().await;
    stage.command(&format!("REVOKE ALL ON item FROM {role}; DROP ROLE {role}")).await;
}
