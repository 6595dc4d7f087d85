//! Moves that are refused, that go wrong, and that are killed in the middle.

use std::process::Output;
use std::time::Duration;

use tests::browser::Browser;
use tests::engine::{Store, ask, execute, server_or_skip};
use tests::processes::Process;
use tokio_postgres::NoTls;

use super::{Town, complaint};
use crate::processes::AUTH_SERVER;

/// The rows of `session` go through `hook` on their way into the target, as soon as a move has made the table.
fn hooked(hook: &str) -> String {
    format!(
        "CREATE FUNCTION hook() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {hook}; RETURN NEW; END $$;
         CREATE FUNCTION put_hook() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
             IF to_regclass('session') IS NOT NULL
                 AND NOT EXISTS (SELECT 1 FROM pg_trigger WHERE tgname = 'hook') THEN
                 CREATE TRIGGER hook BEFORE INSERT ON session FOR EACH ROW EXECUTE FUNCTION hook();
             END IF;
         END $$;
         CREATE EVENT TRIGGER put_hook ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION put_hook();"
    )
}

/// A running server on SQLite with one refresh token, and an empty PostgreSQL database.
async fn before_a_move(name: &str) -> Option<(Town, Process, String, Store)> {
    let server = server_or_skip(name)?;
    let town = Town::new();
    let process = town.found(&town.file("a.db")).await;
    let token = town.tokens(&mut Browser::new(), "t").await.member("refresh_token");
    Some((town, process, token, Store::on(&server).await))
}

async fn try_to_move(town: &Town, to: &str) -> Output {
    town.command(&["move", "--from", &town.file("a.db"), "--to", to]).await
}

#[tokio::test]
async fn a_target_that_is_not_empty_is_refused_and_the_server_goes_on() {
    let Some((town, _process, token, target)) = before_a_move("a_target_that_is_not_empty").await
    else {
        return;
    };
    execute(&target.url, "CREATE TABLE others (id int)").await.unwrap();
    let said = complaint(&try_to_move(&town, &target.url).await, 2);
    assert!(said.contains("not empty"), "{said}");
    let itself = complaint(&try_to_move(&town, &town.file("a.db")).await, 2);
    assert!(itself.contains("the same database"), "{itself}");
    let absent = town.file("absent.db");
    let said = complaint(&town.command(&["move", "--from", &absent, "--to", &target.url]).await, 2);
    assert!(said.contains("there is no database"), "{said}");
    assert!(!town.folder.path().join("absent.db").exists());
    town.web().refresh(&token).await.expect(200);
}

#[tokio::test]
async fn a_row_that_arrives_otherwise_than_it_left_is_told_and_undone() {
    let Some((town, _process, token, target)) = before_a_move("a_row_that_arrives").await else {
        return;
    };
    let earlier = hooked("NEW.expires_at = NEW.expires_at + 1");
    execute(&target.url, &earlier).await.unwrap();
    let said = complaint(&try_to_move(&town, &target.url).await, 1);
    assert!(said.contains("differs") && said.contains("session: 1 rows"), "{said}");
    assert!(!said.contains("account:"), "{said}");
    let left = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(ask(&target.url, left).await, "0");
    town.web().refresh(&token).await.expect(200);
}

#[tokio::test]
async fn a_move_that_is_killed_leaves_two_databases_that_refuse_until_it_is_run_again_or_given_up()
{
    let Some((town, process, token, target)) = before_a_move("a_move_that_is_killed").await else {
        return;
    };
    let web = town.web();
    execute(&target.url, &hooked("PERFORM pg_advisory_xact_lock(7)")).await.unwrap();
    killed_in_the_middle(&town, &target.url).await;

    web.refresh(&token).await.is_temporarily_unavailable();
    for (database, words) in
        [(&town.file("a.db"), "is being moved to"), (&target.url, "unfinished copy")]
    {
        let (status, said) = town.refuse(database).await;
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains(words), "{said}");
    }
    // Given up: the server that still runs goes on.
    let from = town.file("a.db");
    let said = complaint(&town.command(&["move", "--from", &target.url, "--release"]).await, 2);
    assert!(said.contains("unfinished copy"), "{said}");
    let released = town.command(&["move", "--from", &from, "--release"]).await;
    assert!(complaint(&released, 0).is_empty());
    let token = web.refresh(&token).await.expect(200).member("refresh_token");

    // Killed once more, and run again.
    killed_in_the_middle(&town, &target.url).await;
    web.refresh(&token).await.is_temporarily_unavailable();
    town.move_all(&from, &target.url).await;
    assert_eq!(process.stop().await.0, Some(0));
    let _process = town.serve(&target.url).await;
    web.refresh(&token).await.expect(200);
}

/// Starts a move and kills it while it writes into the table `session` of the target.
async fn killed_in_the_middle(town: &Town, to: &str) {
    let (client, connection) = tokio_postgres::connect(to, NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    client.batch_execute("SELECT pg_advisory_lock(7)").await.unwrap();
    let from = town.file("a.db");
    let args = ["move", "--from", &from, "--to", to];
    let moving = Process::spawn(AUTH_SERVER, town.folder.path(), &args);
    let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    let reached = tokio::time::timeout(Duration::from_secs(25), async {
        while ask(to, waits).await == "0" {
            interval.tick().await;
        }
    });
    assert!(reached.await.is_ok(), "it comes to the hook: {}", moving.log());
    moving.kill().await;
    drop(client);
    driver.await.unwrap().unwrap();
}
