//! Real file systems under real servers: one that has no room left, and one that is read-only.

use std::path::Path;

use shared_types::{Clock as _, SystemClock};
use tests::browser::Browser;
use tests::client::{Documents, sign_in};
use tests::http::{Answer, Http};
use tests::oracle::FakeIssuer;
use tests::processes::{Process, free_port};
use tests::realm::{End, Realm};
use tests::world::ALICE;

use super::mount::{Disk, is_empty_outside};
use super::on_a_file;
use crate::processes::{AUTH_SERVER, RESOURCE_SERVER};

const SCOPE: &str = "openid documents:read offline_access";
const RESOURCE: &str = "https://api.example";

/// An authorization server with its rows on `disk`.
async fn realm_on(disk: &Disk) -> Realm {
    let program = disk.program(AUTH_SERVER);
    let database = disk.database("auth-server.db");
    let realm = Realm::start(&program, &["--database", &database]).await;
    assert!(is_empty_outside(&disk.path()), "it is on the disk, where only this case sees it");
    realm
}

/// One grant after the other until there is no room for the next; the tokens of those that were given.
async fn until_full(realm: &Realm) -> Vec<Answer> {
    let web = realm.web();
    let mut given = Vec::new();
    for number in 0..4_000 {
        // Of one session only so many codes may wait, and none of these does.
        let mut browser = Browser::new();
        let pending = web.begin(SCOPE, &format!("filling {number}"));
        let page = sign_in(&mut browser, &pending.url(), ALICE.0, ALICE.1).await;
        if page.answer.status == 503 {
            page.answer.is_put_off();
            return given;
        }
        let answer = web.redeem(&pending.code(&page, &web), &pending).await;
        if answer.status != 200 {
            answer.is_temporarily_unavailable();
            return given;
        }
        given.push(answer);
    }
    panic!("the disk never filled");
}

async fn readiness(address: &str) -> u16 {
    Http::new().get(&format!("{address}/readyz")).await.status
}

#[tokio::test]
async fn a_disk_that_the_load_fills_puts_writers_off_and_loses_nothing() {
    if !on_a_file() {
        return;
    }
    let name = "a_disk_that_the_load_fills_puts_writers_off_and_loses_nothing";
    let Some(disk) = Disk::of("3m", name).await else { return };
    disk.run("head -c 1048576 /dev/zero > of-somebody-else");
    let mut realm = realm_on(&disk).await;
    let given = until_full(&realm).await;
    assert!(!given.is_empty());
    let access = given.last().unwrap().member("access_token");
    let mut tokens: Vec<String> =
        given.iter().map(|answer| answer.member("refresh_token")).collect();
    let web = realm.web();
    // A rotation needs room: those that still find some use it up, and then each is put off.
    let mut refused = 0;
    for at in (0..tokens.len()).cycle().take(4_000) {
        let answer = web.refresh(&tokens[at]).await;
        if answer.status == 200 {
            tokens[at] = answer.member("refresh_token");
            continue;
        }
        answer.is_temporarily_unavailable();
        refused += 1;
        if refused == 8 {
            break;
        }
    }
    assert_eq!(refused, 8);
    // What needs no room goes on.
    assert_eq!(readiness(&realm.address).await, 200);
    realm.machine().client_credentials("documents:read").await.expect(200);
    web.userinfo(&access).await.expect(200);
    all_alive(&realm, &tokens).await;

    // A power cut now: it says why it does not start, or starts, and has forgotten nothing.
    realm.end(End::Killed).await;
    disk.run("rm of-somebody-else");
    realm.restart_ended().await;
    all_alive(&realm, &tokens).await;
    for token in &tokens {
        web.refresh(token).await.expect(200);
    }
    realm.tokens(SCOPE, "afterwards").await;
    realm.end(End::Asked).await;
}

async fn all_alive(realm: &Realm, tokens: &[String]) {
    let web = realm.web();
    for token in tokens {
        let told = web.introspect(token).await.expect(200);
        assert_eq!(told.json()["active"], true, "an acknowledged grant lives");
    }
}

#[tokio::test]
async fn a_server_on_a_full_disk_goes_on_by_itself_once_there_is_room() {
    if !on_a_file() {
        return;
    }
    let name = "a_server_on_a_full_disk_goes_on_by_itself_once_there_is_room";
    let Some(disk) = Disk::of("2m", name).await else { return };
    let mut realm = realm_on(&disk).await;
    let given = until_full(&realm).await;
    disk.remount("size=64m");
    let web = realm.web();
    for tokens in &given {
        web.refresh(&tokens.member("refresh_token")).await.expect(200);
    }
    realm.tokens(SCOPE, "afterwards").await;
    realm.restart(End::Asked).await;
    realm.tokens(SCOPE, "after a restart").await;
    realm.end(End::Asked).await;
}

/// It says so and ends, and once the disk takes something everything is there.
#[tokio::test]
async fn a_server_that_starts_on_a_full_or_read_only_disk_says_so() {
    if !on_a_file() {
        return;
    }
    let name = "a_server_that_starts_on_a_full_or_read_only_disk_says_so";
    let Some(disk) = Disk::of("8m", name).await else { return };
    let mut realm = realm_on(&disk).await;
    let tokens = realm.tokens(SCOPE, "kept").await;
    realm.end(End::Killed).await;
    let sum = || disk.run("cat auth-server.db auth-server.db-wal | sha256sum").stdout;
    let before = sum();
    disk.remount("ro");
    // For a person to mend.
    let said = refused(&realm, &disk, 2).await;
    assert!(said.to_lowercase().contains("read-only"), "{said}");
    assert_eq!(before, sum(), "nothing has changed");
    disk.remount("rw");
    disk.run("cat /dev/zero > of-somebody-else || true");
    let said = refused(&realm, &disk, 1).await;
    assert!(said.contains("full"), "{said}");
    disk.run("rm of-somebody-else");
    realm.restart_ended().await;
    realm.web().refresh(&tokens.member("refresh_token")).await.expect(200);
    realm.end(End::Asked).await;
}

/// As a file system does when its disk fails. What was answered before is there afterwards.
#[tokio::test]
async fn a_disk_that_becomes_read_only_under_a_server_ends_it_and_loses_nothing() {
    if !on_a_file() {
        return;
    }
    let name = "a_disk_that_becomes_read_only_under_a_server_ends_it_and_loses_nothing";
    let Some(disk) = Disk::that_may_fail(name).await else { return };
    let mut realm = realm_on(&disk).await;
    let tokens = realm.tokens(SCOPE, "kept").await;
    disk.fail();
    let web = realm.web();
    web.refresh(&tokens.member("refresh_token")).await.is_temporarily_unavailable();
    assert_eq!(readiness(&realm.address).await, 503, "nobody knows what the disk holds");
    let (status, log) = realm.ended().await;
    assert_eq!(status, Some(1), "{log}");
    assert!(log.contains("the disk has failed"), "{log}");
    disk.mend();
    realm.restart_ended().await;
    realm.web().refresh(&tokens.member("refresh_token")).await.expect(200);
    realm.end(End::Asked).await;
}

/// What a server and a command say that do not begin.
async fn refused(realm: &Realm, disk: &Disk, expected: i32) -> String {
    let program = disk.program(AUTH_SERVER);
    let database = disk.database("auth-server.db");
    let args = ["--issuer", &realm.issuer, "--database", &database];
    let server = Process::launch(&program, realm.folder(), free_port(), &args);
    let (status, said) = server.end().await;
    assert_eq!(status, Some(expected), "{said}");
    let command = realm.command(&["account", "list", "--database", &database], "");
    assert_eq!(command.status.code(), status, "{}", String::from_utf8_lossy(&command.stderr));
    said
}

#[tokio::test]
async fn a_resource_server_on_a_full_disk_goes_on_reading_and_by_itself_once_there_is_room() {
    if !on_a_file() {
        return;
    }
    let name = "a_resource_server_on_a_full_disk_goes_on_reading";
    let Some(disk) = Disk::of("2m", name).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let issuer = FakeIssuer::start().await;
    let token = issuer.token(RESOURCE, SystemClock.now().as_i64()).text();
    let database = disk.database("documents.db");
    let program = disk.program(RESOURCE_SERVER);
    let args = ["--issuer", &issuer.url, "--resource", RESOURCE, "--database", &database];
    let server = start(&program, folder.path(), &args).await;
    let caller = Documents::bearer(&server.url, &token);
    let body = "x".repeat(10_000);
    let mut kept = Vec::new();
    let last = loop {
        let answer = caller.create("kept", &body).await;
        if answer.status != 201 {
            break answer;
        }
        kept.push(answer.member("id"));
        assert!(kept.len() < 1_000, "the disk never filled");
    };
    last.is_put_off();
    assert_eq!(readiness(&server.url).await, 200);
    for id in &kept {
        assert_eq!(caller.read(id).await.expect(200).member("body"), body);
    }
    disk.remount("size=64m");
    kept.push(caller.create("kept", &body).await.expect(201).member("id"));
    server.kill().await;
    let server = start(&program, folder.path(), &args).await;
    let caller = Documents::bearer(&server.url, &token);
    for id in &kept {
        assert_eq!(caller.read(id).await.expect(200).member("body"), body);
    }
    assert_eq!(server.stop().await.0, Some(0));
}

async fn start(program: &str, folder: &Path, args: &[&str]) -> Process {
    Process::start(program, folder, free_port(), args).await
}
