//! Real processes of the two servers: for the command line, for restarts, for signals.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::http::{Http, try_send};

/// How long a server may take until it is ready, and to stop.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often readiness is asked for.
const INTERVAL: Duration = Duration::from_millis(20);

/// A loopback port that was free just now.
pub fn free_port() -> u16 {
    crate::world::free_address().port()
}

/// Runs a command of a server to its end, with `input` on its standard input.
pub fn run(program: &str, folder: &Path, args: &[&str], input: &str) -> Output {
    let mut child = command(program, folder, args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may have ended already.
    let written = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    assert!(written.is_ok() || input.is_empty() || !output.status.success());
    output
}

/// A running server. It is killed when dropped.
#[derive(Debug)]
pub struct Process {
    /// Where it listens, `http://127.0.0.1:PORT`.
    pub url: String,
    child: Child,
    log: Arc<watch::Sender<String>>,
    /// Up to where [`until_logged`](Self::until_logged) has looked.
    read_to: usize,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts `program serve …` in `folder` on `port` and waits until it says that it is ready.
    pub async fn start(program: &str, folder: &Path, port: u16, args: &[&str]) -> Self {
        let process = Self::launch(program, folder, port, args);
        process.until_ready().await
    }

    /// Starts it and does not wait: for servers that are to fail.
    pub fn launch(program: &str, folder: &Path, port: u16, args: &[&str]) -> Self {
        let listen = format!("127.0.0.1:{port}");
        let mut all = vec!["serve", "--listen", &listen];
        if !args.contains(&"--metrics-listen") {
            all.extend(["--metrics-listen", "off"]);
        }
        all.extend(args);
        let mut process = Self::spawn(program, folder, &all);
        process.url = format!("http://{listen}");
        process
    }

    /// Starts any program with these arguments and does not wait; `url` stays empty.
    pub fn spawn(program: &str, folder: &Path, args: &[&str]) -> Self {
        let mut child = command(program, folder, args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(watch::Sender::new(String::new()));
        let readers = vec![
            collect(child.stdout.take().unwrap(), &log),
            collect(child.stderr.take().unwrap(), &log),
        ];
        Self { url: String::new(), child, log, read_to: 0, readers }
    }

    async fn until_ready(self) -> Self {
        let ready = self.until_served("/readyz").await;
        ready.unwrap_or_else(|log| panic!("it ended before it was ready:\n{log}"))
    }

    /// Waits until it answers at all, ready or not.
    ///
    /// # Errors
    /// It ended instead: what it wrote.
    pub async fn until_answering(self) -> Result<Self, String> {
        self.until_served("/healthz").await
    }

    /// Waits for a 200 of `path`. A process gives no other sign to wait for that both servers and every platform share, so
    /// this one wait asks again and again, for a bounded time, and ends at once when the process does: then with its log.
    async fn until_served(mut self, path: &str) -> Result<Self, String> {
        let http = Http::new();
        let url = format!("{}{path}", self.url);
        let mut interval = tokio::time::interval(INTERVAL);
        let asked = tokio::time::timeout(PATIENCE, async {
            loop {
                interval.tick().await;
                let answer = try_send(http.request(reqwest::Method::GET, &url)).await;
                if answer.is_ok_and(|answer| answer.status == 200) {
                    return true;
                }
                if self.child.try_wait().unwrap().is_some() {
                    return false;
                }
            }
        })
        .await;
        let Ok(served) = asked else { panic!("{path} is not served in time:\n{}", self.log()) };
        if served { Ok(self) } else { Err(self.end().await.1) }
    }

    /// Waits until its log has a line with `words` that was written after the last such wait.
    pub async fn until_logged(mut self, words: &str) -> Self {
        let seen = self.log.clone();
        let mut log = seen.subscribe();
        let from = self.read_to;
        let found = tokio::time::timeout(
            PATIENCE,
            log.wait_for(|log| log[from..].lines().any(|line| line.contains(words))),
        )
        .await
        .is_ok_and(|waited| waited.is_ok());
        assert!(found, "it does not say {words:?}:\n{}", self.log());
        self.read_to = self.log().len();
        self
    }

    /// What it has written so far, to both of its streams.
    pub fn log(&self) -> String {
        self.log.borrow().clone()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its anonymous resident memory (`RssAnon`), in bytes.
    pub fn anonymous_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.expect("the kernel tells RssAnon") * 1024
    }

    /// Sends a signal by its name, `TERM` or `HUP`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap();
        assert!(status.success(), "the signal {name} reaches {id}");
    }

    /// Asks it to stop and waits for it: the exit status and everything it wrote.
    pub async fn stop(self) -> (Option<i32>, String) {
        self.signal("TERM");
        self.end().await
    }

    /// Kills it without a word, as a power cut would.
    pub async fn kill(mut self) {
        self.child.kill().unwrap();
        drop(self.end().await);
    }

    /// Waits for it to end: the exit status (absent when a signal ended it) and everything it wrote.
    pub async fn end(mut self) -> (Option<i32>, String) {
        let (tell, told) = oneshot::channel();
        // A thread of its own: the runtime of a case that fails would wait for its own ones, however long.
        std::thread::spawn(move || {
            let status = self.child.wait().unwrap();
            for reader in self.readers.drain(..) {
                reader.join().unwrap();
            }
            tell.send((status.code(), self.log())).ok();
        });
        tokio::time::timeout(PATIENCE, told).await.expect("it ends in time").unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
        if std::thread::panicking() {
            eprintln!("--- log of {}\n{}", self.url, self.log());
        }
    }
}

fn command(program: &str, folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(folder);
    // The environment configures servers too; a case should not depend on the shell it was started from.
    for (name, _) in std::env::vars() {
        if name.starts_with("AUTH_SERVER_") || name.starts_with("RESOURCE_SERVER_") {
            command.env_remove(name);
        }
    }
    command.env_remove("RUST_LOG");
    command
}

fn collect(stream: impl Read + Send + 'static, log: &Arc<watch::Sender<String>>) -> JoinHandle<()> {
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            log.send_modify(|log| {
                log.push_str(&line);
                log.push('\n');
            });
        }
    })
}
