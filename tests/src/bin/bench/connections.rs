//! Connections that are held open, by a process of its own: its files and its memory are its own then. What each costs the server, until when
//! the server has closed those that say nothing, and what others notice of them.

use std::ffi::OsString;
use std::io::{BufRead as _, Read as _};
use std::net::SocketAddr;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::load::{Outcome, Traffic, run, whole};
use crate::machine::{LOAD_CORE, Process, get, now, this_program};
use crate::report::Figure;
use crate::state::CONNECTIONS;

/// The role of the process that holds them.
pub const ROLE: &str = "connections";
/// The most that one may cost, in kB.
const MOST: f64 = 16.0;
/// Seconds after which a server has closed a connection that says nothing.
const CLOSED: f64 = 6.0;
/// How long the servers wait for a head: silent connections are there until then.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// What of that is left unused at the end.
const SLACK: Duration = Duration::from_millis(300);
/// Connections that are opened at once.
const OPENING: usize = 64;
/// How long opening all of them may take, and a server that does not close silent ones is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Files of a process besides its connections, at most.
const OTHER_FILES: u64 = 500;

/// What the holding process says once all are open.
#[derive(Debug, Serialize, Deserialize)]
struct Opened {
    /// Since the first was begun.
    seconds: f64,
}

/// What it says at the end.
#[derive(Debug, Serialize, Deserialize)]
struct Ended {
    /// Those that the server closed.
    closed: usize,
    /// Seconds from the opening of a connection to its end, of the one that was there the longest.
    longest: f64,
}

/// The role `connections ADDR COUNT`: opens so many, says the request of the first line of standard input on each, if there is one, and reads
/// the answer. Then says that they are open. Ends when standard input does, or the server has closed all of them.
pub fn hold(args: &[OsString]) -> ExitCode {
    let word = |at: usize| args.get(at).map(|word| word.to_string_lossy()).unwrap_or_default();
    match hold_all(&word(2), &word(3)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench {ROLE}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn hold_all(addr: &str, count: &str) -> Result<()> {
    let (addr, count): (SocketAddr, usize) = (addr.parse()?, count.parse()?);
    rlimit::increase_nofile_limit(u64::MAX)?;
    let mut request = String::new();
    std::io::stdin().lock().read_line(&mut request)?;
    let request: String = serde_json::from_str(&request)?;
    let (tell, told) = oneshot::channel();
    // It ends with the process, which does not wait for it.
    std::thread::spawn(move || {
        let rest = std::io::stdin().lock().read_to_end(&mut Vec::new());
        tell.send(rest.is_ok()).ok();
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let begin = now();
        let opening = stream::iter(0..count).map(|_| open(addr, request.as_bytes()));
        let mut opening = opening.buffer_unordered(OPENING);
        let mut held = JoinSet::new();
        while let Some((stream, since)) = opening.try_next().await? {
            held.spawn(until_closed(stream, since));
        }
        println!("{}", serde_json::to_string(&Opened { seconds: begin.elapsed().as_secs_f64() })?);
        let mut ended = Ended { closed: 0, longest: 0.0 };
        let closing = async {
            while let Some(time) = held.join_next().await {
                ended.longest = ended.longest.max(time??.as_secs_f64());
                ended.closed += 1;
            }
            anyhow::Ok(())
        };
        tokio::select! {
            closed = closing => closed?,
            _ = told => {}
        }
        println!("{}", serde_json::to_string(&ended)?);
        Ok(())
    })
}

async fn open(addr: SocketAddr, request: &[u8]) -> Result<(TcpStream, Instant)> {
    let mut stream = TcpStream::connect(addr).await.context("a connection is opened")?;
    let since = now();
    if !request.is_empty() {
        stream.write_all(request).await?;
        let mut got = Vec::new();
        let status = loop {
            ensure!(stream.read_buf(&mut got).await? > 0, "closed in the middle of an answer");
            if let Some((status, _)) = whole(&got)? {
                break status;
            }
        };
        ensure!(status == 200, "answered {status}");
    }
    Ok((stream, since))
}

/// How long a connection was open. What comes on it is no answer to anything.
async fn until_closed(mut stream: TcpStream, since: Instant) -> Result<Duration> {
    let mut byte = [0];
    match stream.read(&mut byte).await {
        Ok(1..) => bail!("the server says something that was not asked for"),
        // However it ends it.
        Ok(0) | Err(_) => Ok(since.elapsed()),
    }
}

/// The holding process; killed when dropped.
struct Holder {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Holder {
    /// Begins to open connections.
    async fn start(addr: SocketAddr, count: usize, request: &[u8]) -> Result<Self> {
        let mut command = Command::from(this_program(LOAD_CORE)?);
        command.args([ROLE, &addr.to_string(), &count.to_string()]).kill_on_drop(true);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut input = child.stdin.take().context("it has an input")?;
        let output = child.stdout.take().context("it has an output")?;
        let request = serde_json::to_string(&String::from_utf8_lossy(request))?;
        input.write_all(format!("{request}\n").as_bytes()).await?;
        Ok(Self { _child: child, input, output: BufReader::new(output).lines() })
    }

    async fn opened(&mut self) -> Result<Opened> {
        let line = timeout(PATIENCE, self.output.next_line()).await.context("too slow")??;
        Ok(serde_json::from_str(&line.context("the connections cannot be held: see above")?)?)
    }

    /// Waits until the server has closed all.
    async fn closed(self) -> Result<Ended> {
        self.end(PATIENCE).await
    }

    /// Lets go of all.
    async fn release(self) -> Result<Ended> {
        self.end(Duration::ZERO).await
    }

    async fn end(mut self, patience: Duration) -> Result<Ended> {
        let mut line = timeout(patience, self.output.next_line()).await;
        if line.is_err() {
            drop(self.input);
            line = timeout(PATIENCE, self.output.next_line()).await;
        }
        Ok(serde_json::from_str(&line.context("too slow")??.context("the connections are gone")?)?)
    }
}

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many connections are held.
    pub count: usize,
    /// How long honest requests are measured.
    pub time: Duration,
}

/// Measures a server: started anew for each kind of connection, so that no memory is left over which it could take.
pub async fn measure(
    name: &str,
    server: &mut Process,
    plan: Plan,
    traffic: &mut dyn Traffic,
) -> Result<Vec<Figure>> {
    let (_, hard) = rlimit::Resource::NOFILE.get()?;
    if hard < plan.count as u64 + OTHER_FILES {
        let why = format!("only {hard} open files are allowed, for {} connections", plan.count);
        return Ok(vec![Figure::skipped(format!("{name}-connections"), why)]);
    }
    server.restart()?;
    let mut figures = kept(name, server, plan, traffic).await?;
    server.restart()?;
    figures.extend(silent(name, server, plan, traffic).await?);
    Ok(figures)
}

/// Connections that have asked once, with the same as the honest ones.
async fn kept(
    name: &str,
    server: &Process,
    plan: Plan,
    traffic: &mut dyn Traffic,
) -> Result<Vec<Figure>> {
    let mut request = Vec::new();
    traffic.request(0, &mut request);
    let alone = run(server.addr, CONNECTIONS, plan.time, traffic).await?;
    let before = server.anonymous_memory()?;
    let mut holder = Holder::start(server.addr, plan.count, &request).await?;
    holder.opened().await?;
    let memory = server.anonymous_memory()?;
    let beside = run(server.addr, CONNECTIONS, plan.time, traffic).await?;
    let ended = holder.release().await?;
    ensure!(ended.closed == 0, "{name} closes connections that it said to keep");
    Ok(vec![each(name, "kept", plan, before, memory), latency(name, "kept", &alone, &beside)])
}

/// Connections that never say a word.
async fn silent(
    name: &str,
    server: &Process,
    plan: Plan,
    traffic: &mut dyn Traffic,
) -> Result<Vec<Figure>> {
    let alone = run(server.addr, CONNECTIONS, plan.time, traffic).await?;
    let before = server.anonymous_memory()?;
    let begin = now();
    let mut holder = Holder::start(server.addr, plan.count, &[]).await?;
    let opened = holder.opened().await?;
    // They are taken in one after the other: whoever gets an answer comes after all of them.
    get(server.addr, "/healthz")?;
    let memory = server.anonymous_memory()?;
    let left = HEAD_TIMEOUT.saturating_sub(begin.elapsed() + SLACK);
    let mut figures = if left.is_zero() {
        let why = format!("the first was closed before the last was open, {:.1} s", opened.seconds);
        vec![Figure::skipped(format!("{name}-silent-connection"), why)]
    } else {
        let beside = run(server.addr, CONNECTIONS, plan.time.min(left), traffic).await?;
        vec![each(name, "silent", plan, before, memory), latency(name, "silent", &alone, &beside)]
    };
    let ended = holder.closed().await?;
    let all = ended.closed == plan.count;
    let longest = if all { ended.longest } else { PATIENCE.as_secs_f64() };
    let figure = Figure::of(format!("{name}-silent-closed"), longest, "s").most(CLOSED);
    figures.push(figure.beside("closed", ended.closed as f64));
    Ok(figures)
}

/// What one of them costs.
fn each(name: &str, kind: &str, plan: Plan, before: u64, after: u64) -> Figure {
    let bytes = after.saturating_sub(before) as f64 / plan.count.max(1) as f64;
    let figure = Figure::of(format!("{name}-{kind}-connection"), bytes / 1e3, "kB").most(MOST);
    figure.beside("connections", plan.count as f64)
}

/// What honest requests notice.
fn latency(name: &str, kind: &str, alone: &Outcome, beside: &Outcome) -> Figure {
    let p50 = |outcome: &Outcome| f64::from(outcome.percentile(0.50));
    let figure = Figure::of(format!("{name}-{kind}-p50"), p50(beside), "µs");
    figure.beside("alone", p50(alone))
}
