//! Files that a power cut left torn: the server says that it cannot use them, or what it answers is what was acknowledged.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use tests::realm::{End, Realm};

use super::on_a_file;
use crate::processes::AUTH_SERVER;

/// How a file is spoilt.
type Tear = fn(&Path);

fn resize(path: &Path, change: impl FnOnce(u64) -> u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(change(length)).unwrap();
}

fn zero(path: &Path, from: u64, length: usize) {
    OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .write_all_at(&vec![0; length], from)
        .unwrap();
}

/// Ways in which pages of the log and of the main file may be half there.
const TEARS: [(&str, Tear); 6] = [
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
    ("the last page of the main file cut in half, with the log in place", |folder| {
        resize(&folder.join("auth-server.db"), |length| length.saturating_sub(2_048));
    }),
    ("the last page of the main file half zero, with the log in place", |folder| {
        let main = folder.join("auth-server.db");
        let length = fs::metadata(&main).unwrap().len();
        if length > 2_048 {
            zero(&main, length - 2_048, 2_048);
        }
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
        let tokens = realm.tokens("openid documents:read offline_access", "torn").await;
        realm.end(End::Killed).await;
        tear(realm.folder());
        realm.restart_ended().await;
        let web = realm.web();
        let told = web.introspect(&tokens.member("refresh_token")).await.expect(200);
        assert_eq!(told.json()["active"], true, "{what}");
        web.refresh(&tokens.member("refresh_token")).await.expect(200);
    }
}

/// A page that the disk lost after it was acknowledged cannot be had back. It must not be taken for something else. (A page half of
/// which is other bytes may be: SQLite keeps no checksums of the main file's pages. docs/operating.md says so.)
#[tokio::test]
async fn a_page_that_the_disk_lost_is_a_fault_and_never_a_wrong_answer() {
    const LISTS: [&str; 3] = ["account", "client", "key"];
    if !on_a_file() {
        return;
    }
    let mut realm = Realm::start(AUTH_SERVER, &[]).await;
    realm.tokens("openid documents:read offline_access", "lost").await;
    realm.end(End::Asked).await;
    let right = LISTS.map(|noun| realm.cli(&[noun, "list", "--json"], ""));
    let main = realm.folder().join("auth-server.db");
    let whole = fs::read(&main).unwrap();
    let pages = whole.len() / 4_096;
    let empty = (0..pages).map(|page| {
        let mut bytes = whole.clone();
        bytes[page * 4_096..(page + 1) * 4_096].fill(0);
        bytes
    });
    let cut = (1..pages * 2).map(|half| whole[..half * 2_048].to_vec());
    let mut refused = 0;
    for (number, spoilt) in empty.chain(cut.rev().take(6)).enumerate() {
        for beside in ["auth-server.db-wal", "auth-server.db-shm"] {
            fs::remove_file(realm.folder().join(beside)).ok();
        }
        fs::write(&main, &spoilt).unwrap();
        for (noun, right) in LISTS.into_iter().zip(&right) {
            let told = realm.command(&[noun, "list", "--json"], "");
            if told.status.success() {
                assert_eq!(String::from_utf8_lossy(&told.stdout), *right, "{noun}, file {number}");
            } else {
                assert!(!told.stderr.is_empty(), "{noun}, file {number}: it says why");
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "none of that mattered");
}
