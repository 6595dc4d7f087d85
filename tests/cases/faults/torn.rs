//! Files that a power cut left torn: the server says that it cannot use them, or what it answers is what was acknowledged.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde_json::Value;
use tests::browser::Browser;
use tests::client::Client;
use tests::engine::MASTER_KEY;
use tests::http::Answer;
use tests::processes::run;
use tests::realm::{End, Realm};

use super::on_a_file;
use crate::processes::AUTH_SERVER;

const SCOPE: &str = "openid documents:read offline_access";
/// What the command line lists.
const LISTS: [&str; 3] = ["account", "client", "key"];
/// What a client holds.
const TOKENS: [&str; 2] = ["access_token", "refresh_token"];
/// Bytes of a page.
const PAGE: usize = 4_096;
const HALF: usize = PAGE / 2;

/// How a file is spoilt.
type Tear = fn(&Path);

/// Ways in which what follows the last commit, and the index that is made anew, may be half there.
const TEARS: [(&str, Tear); 4] = [
    ("half a frame behind the log", |folder| {
        let wal = folder.join("auth-server.db-wal");
        let mut bytes = fs::read(&wal).unwrap();
        let frame = bytes.get(32..2_080).unwrap().to_vec();
        bytes.extend(frame);
        fs::write(&wal, bytes).unwrap();
    }),
    ("zeros behind the log", |folder| {
        let wal = folder.join("auth-server.db-wal");
        let mut bytes = fs::read(&wal).unwrap();
        bytes.extend([0; 4_120]);
        fs::write(&wal, bytes).unwrap();
    }),
    ("no index of the log", |folder| fs::remove_file(folder.join("auth-server.db-shm")).unwrap()),
    ("an index of the log without sense", |folder| {
        fs::write(folder.join("auth-server.db-shm"), [0x5a; 32_768]).unwrap();
    }),
];

/// Nothing acknowledged is lost when what was not yet acknowledged is torn: the log holds every commit until it is in the main file.
#[tokio::test]
async fn what_a_power_cut_tears_behind_the_last_commit_changes_nothing() {
    if !on_a_file() {
        return;
    }
    for (what, tear) in TEARS {
        let mut realm = Realm::start(AUTH_SERVER, &[]).await;
        let tokens = realm.tokens(SCOPE, "torn").await;
        realm.end(End::Killed).await;
        tear(realm.folder());
        realm.restart_ended().await;
        let web = realm.web();
        let told = web.introspect(&tokens.member("refresh_token")).await.expect(200);
        assert_eq!(told.json()["active"], true, "{what}");
        web.refresh(&tokens.member("refresh_token")).await.expect(200);
    }
}

/// What the log beside `main` holds of committed pages, by their numbers from 1 (<https://sqlite.org/fileformat2.html#walformat>).
fn logged_pages(main: &Path) -> BTreeMap<usize, Vec<u8>> {
    const HEADER: usize = 32;
    const FRAME_HEADER: usize = 24;
    let log = fs::read(main.with_extension("db-wal")).unwrap();
    let number = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!(number(8), PAGE, "bytes of a page");
    let (mut committed, mut begun) = (BTreeMap::new(), BTreeMap::new());
    let mut at = HEADER;
    // What an earlier log has left behind has other salts.
    while at + FRAME_HEADER + PAGE <= log.len() && log[at + 8..at + 16] == log[16..24] {
        let content = at + FRAME_HEADER;
        begun.insert(number(at), log[content..content + PAGE].to_vec());
        // The last frame of a commit has the size of the database.
        if number(at + 4) != 0 {
            committed.append(&mut begun);
        }
        at = content + PAGE;
    }
    committed
}

/// A checkpoint copies pages from the log into the main file, and when the power fails, half of each may be there. The log has them whole,
/// and every reader takes them from there: out of the log of a first start, with keys and clients, and out of one of later changes.
#[tokio::test]
async fn pages_half_written_by_a_checkpoint_are_taken_from_the_log() {
    if !on_a_file() {
        return;
    }
    for (later, lost, filling) in [
        (false, 0..HALF, 0x00),
        (false, HALF..PAGE, 0x5a),
        (true, 0..HALF, 0x5a),
        (true, HALF..PAGE, 0x00),
    ] {
        let mut realm = Realm::start(AUTH_SERVER, &[]).await;
        let mut held = Vec::new();
        if later {
            held.push(realm.tokens(SCOPE, "earlier").await);
            // A server that is asked to end leaves everything in the main file.
            realm.restart(End::Asked).await;
        }
        let mut browser = Browser::new();
        let (page, pending) = realm.authorize(&mut browser, SCOPE, "held").await;
        let web = realm.web();
        held.push(web.redeem(&pending.code(&page, &web), &pending).await.expect(200));
        realm.end(End::Killed).await;

        let main = realm.folder().join("auth-server.db");
        let right = lists_of(&main, true);
        assert!(right.iter().all(Result::is_ok), "{right:?}");
        let logged = logged_pages(&main);
        let what = format!("{filling:#04x} in {lost:?} of {:?}", logged.keys());
        assert!(logged.len() > 2, "not just one table: {what}");
        for (number, mut page) in logged {
            page[lost.clone()].fill(filling);
            write(&main, (number - 1) * PAGE, &page);
        }
        assert_ne!(lists_of(&main, false), right, "without the log it would do too: {what}");

        realm.restart_ended().await;
        assert_eq!(LISTS.map(|noun| Ok(realm.cli(&[noun, "list", "--json"], ""))), right, "{what}");
        for tokens in held {
            is_alive(&web, &tokens, &what).await;
        }
        realm.machine().client_credentials("documents:read").await.expect(200);
        let silent = web.begin(SCOPE, "silent").param("prompt", "none");
        let page = browser.get(&silent.url()).await;
        web.redeem(&silent.code(&page, &web), &silent).await.expect(200);
    }
}

fn write(path: &Path, from: usize, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, from as u64).unwrap();
}

/// What the command line lists of a copy of a file, with its log or without, or why it fails. The file itself stays as it is.
fn lists_of(main: &Path, with_log: bool) -> [Result<String, String>; 3] {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("auth-server.db");
    fs::copy(main, &copy).unwrap();
    fs::copy(main.with_file_name(MASTER_KEY), copy.with_file_name(MASTER_KEY)).unwrap();
    if with_log {
        fs::copy(main.with_extension("db-wal"), copy.with_extension("db-wal")).unwrap();
    }
    LISTS.map(|noun| {
        let told = run(AUTH_SERVER, folder.path(), &[noun, "list", "--json"], "");
        let said = if told.status.success() { Ok(told.stdout) } else { Err(told.stderr) };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        said.map(text).map_err(text)
    })
}

/// Both tokens are what they were.
async fn is_alive(web: &Client, tokens: &Answer, what: &str) {
    for kind in TOKENS {
        let told = web.introspect(&tokens.member(kind)).await.expect(200);
        assert_eq!(told.json()["active"], true, "{what}: {kind}");
    }
    web.userinfo(&tokens.member("access_token")).await.expect(200);
    web.refresh(&tokens.member("refresh_token")).await.expect(200);
}

/// A page that the disk lost after it was acknowledged cannot be had back. It must not be taken for something else. (A page half of
/// which is other bytes may be: SQLite keeps no checksums of the main file's pages. docs/operating.md says so.)
#[tokio::test]
async fn a_page_that_the_disk_lost_is_a_fault_and_never_a_wrong_answer() {
    if !on_a_file() {
        return;
    }
    let mut realm = Realm::start(AUTH_SERVER, &[]).await;
    let tokens = realm.tokens(SCOPE, "lost").await;
    let mut told = Vec::new();
    for kind in TOKENS {
        told.push(realm.web().introspect(&tokens.member(kind)).await.expect(200).json());
    }
    realm.end(End::Asked).await;
    let right = LISTS.map(|noun| realm.cli(&[noun, "list", "--json"], ""));
    let main = realm.folder().join("auth-server.db");
    let whole = fs::read(&main).unwrap();
    let pages = whole.len() / PAGE;
    let empty = (0..pages).map(|page| {
        let mut bytes = whole.clone();
        bytes[page * PAGE..(page + 1) * PAGE].fill(0);
        bytes
    });
    let cut = (1..pages * 2).map(|half| whole[..half * HALF].to_vec());
    let (mut refused, mut stopped, mut faults, mut served) = (0, 0, 0, 0);
    for (number, spoilt) in empty.chain(cut.rev().take(6)).enumerate() {
        spoil(realm.folder(), &spoilt);
        for (noun, right) in LISTS.into_iter().zip(&right) {
            let told = realm.command(&[noun, "list", "--json"], "");
            if told.status.success() {
                assert_eq!(String::from_utf8_lossy(&told.stdout), *right, "{noun}, file {number}");
            } else {
                assert!(!told.stderr.is_empty(), "{noun}, file {number}: it says why");
                refused += 1;
            }
        }
        spoil(realm.folder(), &spoilt);
        if let Err(said) = realm.try_launch().await {
            assert!(!said.is_empty(), "file {number}: it says why");
            stopped += 1;
            continue;
        }
        let of_three = right_answers(&realm.web(), &tokens, &told, number).await;
        served += of_three;
        faults += 3 - of_three;
        realm.end(End::Killed).await;
    }
    let counts = format!("{refused} lists, {stopped} starts, {faults} faults, {served} served");
    assert!(refused > 0 && stopped > 0 && faults > 0 && served > 0, "it is about all: {counts}");
}

/// How many of three requests are answered as they were before, two introspections and a refresh; the others are faults.
async fn right_answers(web: &Client, tokens: &Answer, told: &[Value], number: usize) -> usize {
    let mut served = 0;
    for (kind, right) in TOKENS.into_iter().zip(told) {
        let answer = web.introspect(&tokens.member(kind)).await;
        if answer.status < 500 {
            assert_eq!(answer.expect(200).json(), *right, "{kind}, file {number}");
            served += 1;
        }
    }
    let old = tokens.member("refresh_token");
    let answer = web.refresh(&old).await;
    if answer.status < 500 {
        assert_ne!(answer.expect(200).member("refresh_token"), old, "file {number}");
        served += 1;
    }
    served
}

/// The folder of a server whose main file is this, and that has no log.
fn spoil(folder: &Path, main: &[u8]) {
    for beside in ["auth-server.db-wal", "auth-server.db-shm"] {
        fs::remove_file(folder.join(beside)).ok();
    }
    fs::write(folder.join("auth-server.db"), main).unwrap();
}
