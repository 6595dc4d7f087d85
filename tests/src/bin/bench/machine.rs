//! The machine: processors to pin to, processes and what the kernel counts of them.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant, UNIX_EPOCH};

use actix_web::http::header::HttpDate;
use anyhow::{Context as _, Result, bail};
use shared_types::{Clock as _, SystemClock};

/// The processor of the servers.
pub const SERVER_CORE: &str = "0";
/// The processor of the load.
pub const LOAD_CORE: &str = "1";
/// How long a server may take until it is ready, and a request on the side.
const PATIENCE: Duration = Duration::from_secs(60);

/// Now, for what is measured.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// The processors that this process had at first: what it is pinned to later is not all that there is.
fn processors() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Whether there are two processors and `taskset` to choose between them. Ask first before this process is pinned.
pub fn can_pin() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let taskset = Command::new("taskset").arg("--version").stdout(Stdio::null()).status();
        processors() >= 2 && taskset.is_ok_and(|status| status.success())
    })
}

/// Moves this process to the processor of the load. Before it has threads: they inherit it.
pub fn pin_to_load_core() {
    pin(&std::process::id().to_string(), LOAD_CORE);
}

/// Moves a process to a processor, or says that it cannot be moved. What it starts from then on follows it.
pub fn pin(process: &str, core: &str) {
    let moved = Command::new("taskset")
        .args(["-c", "-p", core, process])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !moved.is_ok_and(|status| status.success()) {
        eprintln!("bench: taskset does not move process {process}; it runs where it may");
    }
}

/// A command that runs this very program on a processor, if it can be pinned.
pub fn this_program(core: &str) -> Result<Command> {
    let program = std::env::current_exe().context("this program has a path")?;
    if !can_pin() {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program);
    Ok(command)
}

/// A running process of this program; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Where it answers.
    pub addr: SocketAddr,
    /// Where its metrics are, if it has any.
    pub metrics: Option<SocketAddr>,
    started: Instant,
    again: Recipe,
}

/// How a process is started.
#[derive(Clone, Debug)]
struct Recipe {
    args: Vec<String>,
    folder: PathBuf,
    log: String,
}

impl Recipe {
    fn start(&self) -> Result<(Child, Instant)> {
        let log = self.folder.join(&self.log);
        let file = File::options().create(true).append(true).open(log)?;
        let mut command = this_program(SERVER_CORE)?;
        for (name, _) in std::env::vars() {
            if name.starts_with("AUTH_SERVER_") || name.starts_with("RESOURCE_SERVER_") {
                command.env_remove(name);
            }
        }
        command.args(&self.args).current_dir(&self.folder).env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let started = now();
        Ok((command.spawn().context("the server starts")?, started))
    }
}

impl Process {
    /// Starts this program with `args`; everything it says goes to `log` in `folder`. It is to answer at `addr`.
    pub fn start(args: &[String], folder: &Path, log: &str, addr: SocketAddr) -> Result<Self> {
        let again = Recipe { args: args.to_vec(), folder: folder.to_owned(), log: log.to_owned() };
        let (child, started) = again.start()?;
        Ok(Self { child, addr, metrics: None, started, again })
    }

    /// Ends it and starts it anew with what it has stored; how long it took from exec until it was ready.
    pub fn restart(&mut self) -> Result<Duration> {
        self.end()?;
        (self.child, self.started) = self.again.start()?;
        self.until_ready("/readyz")
    }

    /// Waits until `path` answers 200; how long that was since the start.
    pub fn until_ready(&mut self, path: &str) -> Result<Duration> {
        loop {
            if get(self.addr, path).is_ok_and(|(status, _)| status == 200) {
                return Ok(self.started.elapsed());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status} before it was ready: see its log", self.addr);
            }
            if self.started.elapsed() > PATIENCE {
                bail!("{} is not ready in time", self.addr);
            }
            // Asked again at once: this is what measures the start, and it has a processor of its own. Without one it steps aside.
            std::thread::yield_now();
        }
    }

    /// Ends it as an operator would, and waits.
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status()?;
        self.child.wait()?;
        Ok(())
    }

    /// Processor time that its threads have used so far, in nanoseconds.
    pub fn cpu_nanos(&self) -> Result<u64> {
        let mut sum = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end meanwhile.
            let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            sum += text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(sum)
    }

    /// Its anonymous resident memory (`RssAnon`), in bytes.
    pub fn anonymous_memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        Ok(kib.context("the kernel tells RssAnon")? * 1024)
    }

    /// One counter of its metrics page; 0 where it has none.
    pub fn counter(&self, name: &str) -> Result<u64> {
        let Some(metrics) = self.metrics else { return Ok(0) };
        let (_, page) = get(metrics, "/metrics")?;
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.and_then(|value| value.trim().parse().ok()).unwrap_or(0))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

/// One request on a connection of its own: status and body.
pub fn get(addr: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer has a head")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.context("an answer has a status")?, body.to_owned()))
}

/// What the machine is, in a line.
pub fn describe() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let processors = processors();
    let pinned = if can_pin() { "servers on one, load on another" } else { "not pinned" };
    format!("{model}, {processors} processors, {pinned}; Linux {}", kernel.trim())
}

/// When this is.
pub fn date() -> String {
    let seconds = SystemClock.now().as_i64();
    HttpDate::from(UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or(0))).to_string()
}

/// The commit that is checked out, and whether files have changed since; absent outside a clone.
pub fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::null());
        let output = command.output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    let is_clean = changed.is_none_or(|files| files.is_empty());
    Some(if is_clean { commit } else { format!("{commit}, changed") })
}
