//! Counters that the worker threads keep and `/metrics` reads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What the database has done so far and what it has before it, for `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// SQLite: commits that wrote something, each one fsync; those of checkpoints come on top. PostgreSQL: every unit that wrote and was
    /// committed; the server may let several share an fsync.
    pub commits: u64,
    /// Units of work acknowledged as committed; divided by `commits`, the size of a group.
    pub units: u64,
    /// Units of work that ended without a change: by their own `Err`, a failure or a panic.
    pub rolled_back: u64,
    /// Reads answered.
    pub reads: u64,
    /// Jobs refused on arrival: the queue was full or closed.
    pub refused: u64,
    /// Jobs dropped before they started: late, or nobody waited for them any more.
    pub dropped: u64,
    /// Checkpoints of the write-ahead log (SQLite).
    pub checkpoints: u64,
    /// Statements of units of work (PostgreSQL).
    pub statements: u64,
    /// Times a thread waited for the server's answer (PostgreSQL): statements, their preparation, the ends of transactions.
    pub round_trips: u64,
    /// Microseconds of the unit of work that kept the writer longest, without its commit (SQLite).
    pub longest_unit_micros: u64,
    /// Microseconds of the longest batch, from BEGIN to the end of COMMIT: what a write had to wait for at worst (SQLite).
    pub longest_batch_micros: u64,
    /// Writes that wait now.
    pub queued_writes: usize,
    /// Reads that wait now.
    pub queued_reads: usize,
}

/// One of the [`Statistics`] as `/metrics` shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// Without prefix, suffix and unit of a counter.
    pub name: &'static str,
    /// What an operator is told.
    pub help: &'static str,
    /// What it is now, and of which kind.
    pub value: Reading,
}

/// The value of a [`Figure`] by its kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reading {
    /// How often so far; only grows.
    Count(u64),
    /// How many now.
    Level(usize),
    /// How long, in seconds.
    Seconds(f64),
}

impl Statistics {
    /// Each of them, for whoever shows them.
    pub fn each(&self) -> impl Iterator<Item = Figure> {
        use Reading::{Count, Level, Seconds};
        let seconds = |micros| Seconds(Duration::from_micros(micros).as_secs_f64());
        let figures = [
            ("commits", COMMITS, Count(self.commits)),
            ("units", "Units of work acknowledged as committed", Count(self.units)),
            ("rolled_back", "Units of work that ended without a change", Count(self.rolled_back)),
            ("reads", "Reads answered", Count(self.reads)),
            (
                "refused",
                "Jobs refused on arrival: the queue was full or closed",
                Count(self.refused),
            ),
            (
                "dropped",
                "Jobs dropped before they started: late, or nobody waited",
                Count(self.dropped),
            ),
            ("checkpoints", "Checkpoints of the write-ahead log (SQLite)", Count(self.checkpoints)),
            ("statements", "Statements of units of work (PostgreSQL)", Count(self.statements)),
            ("round_trips", "Waits for the server's answer (PostgreSQL)", Count(self.round_trips)),
            ("queued_writes", "Writes that wait now", Level(self.queued_writes)),
            ("queued_reads", "Reads that wait now", Level(self.queued_reads)),
            (
                "longest_unit_seconds",
                "Longest unit of work (SQLite)",
                seconds(self.longest_unit_micros),
            ),
            (
                "longest_batch_seconds",
                "Longest hold of the writer, with its commit (SQLite)",
                seconds(self.longest_batch_micros),
            ),
        ];
        figures.into_iter().map(|(name, help, value)| Figure { name, help, value })
    }
}

const COMMITS: &str = "Commits: on SQLite those that wrote something, each one fsync without those of checkpoints; on PostgreSQL one for each unit that wrote";

/// The live side of [`Statistics`]. Relaxed order: each counter is exact, and no decision is
/// drawn from two of them.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) commits: AtomicU64,
    pub(crate) units: AtomicU64,
    pub(crate) rolled_back: AtomicU64,
    pub(crate) reads: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) statements: AtomicU64,
    pub(crate) longest_unit: AtomicU64,
    pub(crate) longest_batch: AtomicU64,
    round_trips: AtomicU64,
    failed: AtomicBool,
}

impl Gauges {
    /// One more.
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    /// A time of which only the longest is kept.
    pub(crate) fn note_time(longest: &AtomicU64, took: Duration) {
        longest.fetch_max(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// That many waits for the server.
    pub(crate) fn count_exchange(&self, waits: u64) {
        self.round_trips.fetch_add(waits, Relaxed);
    }

    /// Gives up on the disk, for good: after a failed fsync nobody knows what it holds.
    pub(crate) fn give_up(&self) {
        self.failed.store(true, Relaxed);
    }

    pub(crate) fn is_healthy(&self) -> bool {
        !self.failed.load(Relaxed)
    }

    pub(crate) fn snapshot(&self, queued_writes: usize, queued_reads: usize) -> Statistics {
        Statistics {
            commits: self.commits.load(Relaxed),
            units: self.units.load(Relaxed),
            rolled_back: self.rolled_back.load(Relaxed),
            reads: self.reads.load(Relaxed),
            refused: self.refused.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            checkpoints: self.checkpoints.load(Relaxed),
            statements: self.statements.load(Relaxed),
            round_trips: self.round_trips.load(Relaxed),
            longest_unit_micros: self.longest_unit.load(Relaxed),
            longest_batch_micros: self.longest_batch.load(Relaxed),
            queued_writes,
            queued_reads,
        }
    }
}
