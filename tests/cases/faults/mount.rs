//! A file system of a server's own, small or read-only, that nobody outside sees: in a mount namespace, which goes away with its last process.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use tests::processes::Process;
use tests::skip::{left_out, skip};

/// How this machine lets us mount: as anybody in a user namespace of our own, or as root.
const WAYS: [(&[&str], &[&str]); 2] = [
    (&["--user", "--map-root-user", "--mount"], &["--user", "--preserve-credentials", "--mount"]),
    (&["--mount"], &["--mount"]),
];

/// A mounted file system. It lives as long as this value: a process that only waits holds it.
#[derive(Debug)]
pub struct Disk {
    holder: Process,
    enter: &'static [&'static str],
    folder: TempDir,
}

impl Disk {
    /// One in memory with that much room, as `mount` takes it. None where a machine permits no mount, for the case `name`.
    pub async fn of(size: &str, name: &str) -> Option<Self> {
        let Some(way) = WAYS.into_iter().find(|way| permits(way.0, "mount -t tmpfs none /mnt"))
        else {
            skip(
                name,
                "neither in a user namespace nor as root may it mount; a container needs --cap-add SYS_ADMIN",
            );
            return None;
        };
        Some(Self::mount(way, &format!("mount -t tmpfs -o size={size},mode=700 none disk")).await)
    }

    /// One in a file, whose driver can be told to give up, as it does when the disk beneath fails: see [`Disk::fail`].
    ///
    /// None where it cannot be had, which is said and no more: it takes a loop device and its driver, which hardly a container has,
    /// and one in memory cannot be made to fail under files that are open.
    pub async fn that_may_fail(name: &str) -> Option<Self> {
        let make = "truncate -s 32M image && mkfs.ext4 -q image";
        let tried = format!(
            "cd $(mktemp -d) && {make} && mount -o loop image /mnt && touch /mnt/x && umount /mnt; rc=$?; rm -rf \"$PWD\"; exit $rc"
        );
        let way = WAYS[1];
        if !permits(way.0, &tried) {
            left_out(name, "no loop device may be mounted");
            return None;
        }
        Some(Self::mount(way, &format!("{make} && mount -o loop image disk")).await)
    }

    async fn mount((unshare, enter): (&[&str], &'static [&'static str]), script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("disk")).unwrap();
        let script = format!("{script} && echo mounted && exec sleep infinity");
        let args = [unshare, &["sh", "-c", &script]].concat();
        let holder = Process::spawn("unshare", folder.path(), &args);
        Self { holder: holder.until_logged("mounted").await, enter, folder }
    }

    /// The driver gives up: the file system is read-only at once, also for files that are open.
    pub fn fail(&self) {
        self.remount("abort");
    }

    /// Mounts what [`fail`](Self::fail) has left, once nobody uses it.
    pub fn mend(&self) {
        self.run("cd .. && umount disk && mount -o loop image disk");
    }

    /// Where it is mounted. Outside there is an empty folder.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn enter(&self) -> Vec<String> {
        let mut words =
            vec!["nsenter".to_owned(), "--target".to_owned(), self.holder.id().to_string()];
        words.extend(self.enter.iter().map(|word| (*word).to_owned()));
        words
    }

    /// A program that runs `program` where the disk is, to be started like that one.
    pub fn program(&self, program: &str) -> String {
        let path = self.folder.path().join("entered");
        let words = self.enter().join(" ");
        let text = format!("#!/bin/sh\nexec {words} --wd=\"$PWD\" {program} \"$@\"\n");
        // Not written by this process: a child that another case starts meanwhile would hold the file, and it could not be run.
        let write = "printf %s \"$1\" > \"$2\" && chmod 700 \"$2\"";
        let status =
            Command::new("sh").args(["-c", write, "sh", &text]).arg(&path).status().unwrap();
        assert!(status.success());
        path.to_str().unwrap().to_owned()
    }

    /// Runs a script in the folder of the disk; what it said.
    #[track_caller]
    pub fn run(&self, script: &str) -> Output {
        let words = self.enter();
        let script = format!("cd {} && {script}", self.path().display());
        let output =
            Command::new(&words[0]).args(&words[1..]).args(["sh", "-c", &script]).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Mounts it again with other options.
    #[track_caller]
    pub fn remount(&self, options: &str) {
        self.run(&format!("mount -o remount,{options} {}", self.path().display()));
    }

    /// A database on it, as the setting takes it.
    pub fn database(&self, name: &str) -> String {
        format!("sqlite:{}", self.path().join(name).display())
    }
}

fn permits(unshare: &[&str], script: &str) -> bool {
    let tried = Command::new("unshare").args(unshare).args(["sh", "-c", script]).output();
    tried.is_ok_and(|output| output.status.success())
}

/// Whether anybody outside the namespace sees what is in there.
pub fn is_empty_outside(disk: &Path) -> bool {
    std::fs::read_dir(disk).unwrap().next().is_none()
}
