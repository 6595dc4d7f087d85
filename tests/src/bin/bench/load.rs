//! The load: connections that stay open, each with one request under way, on one thread.
//!
//! The answers are read as far as a client has to: the status, the length, the body. Each is checked by whoever sent the request.

use std::cell::RefCell;
use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_util::future::try_join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::machine::{can_pin, now};

/// An answer.
#[derive(Debug)]
pub struct Answer<'a> {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: &'a [u8],
}

/// What is asked on the connections, and what is expected.
pub trait Traffic {
    /// Writes the next request of a connection; false: there is none left.
    fn request(&mut self, connection: usize, into: &mut Vec<u8>) -> bool;
    /// Takes its answer, and says whether it was a good one.
    fn answer(&mut self, connection: usize, answer: &Answer<'_>) -> bool;
}

/// What a while of load came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Good answers.
    pub answers: u64,
    /// Seconds from the first request to the last answer.
    pub seconds: f64,
    /// Microseconds of each answer, ascending.
    pub micros: Vec<u32>,
}

impl Outcome {
    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.answers as f64 / self.seconds.max(1e-9)
    }

    /// The latency below which `share` of the answers were, in microseconds.
    pub fn percentile(&self, share: f64) -> u32 {
        let last = self.micros.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        self.micros.get(at).copied().unwrap_or(0)
    }
}

/// Sends `traffic` to `addr` for `time` over that many connections, or until there is nothing left to ask. A wrong answer ends it.
pub async fn run(
    addr: SocketAddr,
    connections: usize,
    time: Duration,
    traffic: &mut dyn Traffic,
) -> Result<Outcome> {
    let streams = try_join_all((0..connections).map(|_| TcpStream::connect(addr))).await?;
    let shared = RefCell::new((traffic, Outcome::default()));
    let begin = now();
    let each = streams.into_iter().enumerate().map(|(number, stream)| {
        let shared = &shared;
        async move {
            let mut line = Line { stream, sent: Vec::new(), got: Vec::with_capacity(8_192) };
            while begin.elapsed() < time && line.ask(number, shared).await? {}
            anyhow::Ok(())
        }
    });
    tokio::select! {
        done = try_join_all(each) => drop(done?),
        () = stay_awake() => {}
    }
    let (_, mut outcome) = shared.into_inner();
    outcome.seconds = begin.elapsed().as_secs_f64();
    outcome.micros.sort_unstable();
    Ok(outcome)
}

/// Keeps the processor of the load from going to sleep between answers. On one machine it is the server that pays for waking a client up,
/// and only a server slow enough for its clients to sleep: the bare endpoint would never pay, as over a network nobody does.
async fn stay_awake() {
    if !can_pin() {
        pending::<()>().await;
    }
    loop {
        tokio::task::yield_now().await;
    }
}

/// One connection.
struct Line {
    stream: TcpStream,
    sent: Vec<u8>,
    got: Vec<u8>,
}

impl Line {
    async fn ask(
        &mut self,
        number: usize,
        shared: &RefCell<(&mut dyn Traffic, Outcome)>,
    ) -> Result<bool> {
        self.sent.clear();
        if !shared.borrow_mut().0.request(number, &mut self.sent) {
            return Ok(false);
        }
        let sent_at = now();
        self.stream.write_all(&self.sent).await?;
        self.got.clear();
        let (status, body) = loop {
            if self.stream.read_buf(&mut self.got).await? == 0 {
                bail!("the server closed a connection in the middle of an answer");
            }
            if let Some(whole) = whole(&self.got)? {
                break whole;
            }
        };
        let micros = u32::try_from(sent_at.elapsed().as_micros()).unwrap_or(u32::MAX);
        let (traffic, outcome) = &mut *shared.borrow_mut();
        let answer = Answer { status, body: &self.got[body..] };
        if !traffic.answer(number, &answer) {
            let request = String::from_utf8_lossy(&self.sent);
            let line = request.lines().next().unwrap_or_default().split('?').next();
            bail!(
                "{} was answered {status}: {:.300}",
                line.unwrap_or_default(),
                String::from_utf8_lossy(answer.body)
            );
        }
        outcome.answers += 1;
        outcome.micros.push(micros);
        Ok(true)
    }
}

/// The status and where the body begins, once all of the answer is there.
pub fn whole(got: &[u8]) -> Result<Option<(u16, usize)>> {
    let Some(end) = got.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&got[..end]).context("a head is text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.get(9..12)?.parse().ok());
    let status = status.context("an answer begins with its status")?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.context("an answer tells its length")?;
    Ok((got.len() >= end + 4 + length).then_some((status, end + 4)))
}
