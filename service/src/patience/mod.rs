//! How long a connection waits for its client. A head that does not come, a head without end and an answer that nobody takes end it in time,
//! whichever request of the connection they belong to: the HTTP library times the first head only, and no answer at all.
//!
//! [`Pace`] says how far a connection is and until when the next step must have come; it decides and does nothing. [`stream`] feeds it with
//! what is read and written, and acts on its word; [`answers`] tells it where a request begins and an answer ends. One connection lives on
//! one thread, so nothing here is locked.

mod answers;
mod stream;

use std::cell::{Cell, RefCell};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

pub(crate) use answers::marked;
pub(crate) use stream::{Closing, Paced, Transport};

/// Bytes of a request's head.
const MAX_HEAD: usize = 32 * 1_024;
/// Bytes read at first, twice as many in all after each look that did not find the end of a head, and so up to the largest. A parsed head
/// takes many times its bytes, so this is also how much a client may send ahead while an answer is made.
const FIRST_BYTES: usize = 8 * 1_024;
/// For a client that takes nothing of what is written to it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that earn it one second more.
const BYTES_A_SECOND: u64 = 4_096;

/// Where a connection is between two steps of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not a byte has come yet.
    Silent,
    /// A head has begun.
    Head,
    /// As much of a head as could be read is there; what parses it has yet to look at it.
    Full,
    /// A request is being answered.
    Busy {
        /// It has a body: what comes is bounded by whoever reads that.
        body: bool,
    },
    /// The answer is said. How long the connection may idle the HTTP library decides.
    Idle,
}

/// What a client has missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overdue {
    /// It connected and said nothing.
    Anything,
    /// It began a head and did not end it.
    Head,
    /// It does not take its answer.
    Answer,
}

/// How far a connection is, and until when.
#[derive(Debug)]
pub(crate) struct Pace {
    head_timeout: Duration,
    phase: Cell<Phase>,
    room: Cell<usize>,
    /// Bytes of this head for which there was room so far.
    granted: Cell<usize>,
    head_until: Cell<Option<Instant>>,
    answer_until: Cell<Option<Instant>>,
    reader: RefCell<Option<Waker>>,
}

impl Pace {
    /// A connection that begins `now` and has `head_timeout` for each head, the first one counted from here.
    fn new(head_timeout: Duration, now: Instant) -> Self {
        Self {
            head_timeout,
            phase: Cell::new(Phase::Silent),
            room: Cell::new(FIRST_BYTES),
            granted: Cell::new(FIRST_BYTES),
            head_until: Cell::new(Some(now + head_timeout)),
            answer_until: Cell::new(None),
            reader: RefCell::new(None),
        }
    }

    /// Bytes that may be read now.
    fn room(&self) -> usize {
        match self.phase.get() {
            Phase::Busy { body: true } => usize::MAX,
            Phase::Silent | Phase::Idle => FIRST_BYTES,
            Phase::Head | Phase::Full | Phase::Busy { body: false } => self.room.get(),
        }
    }

    /// There is no room: whether the head is too large for sure. If not, `reader` is woken as soon as it is worth another look.
    fn is_too_large(&self, reader: &Waker) -> bool {
        match self.phase.get() {
            Phase::Full if self.granted.get() >= MAX_HEAD => return true,
            Phase::Full => {
                self.room.set(self.granted.get());
                self.granted.set(self.granted.get() * 2);
                self.phase.set(Phase::Head);
                reader.wake_by_ref();
            }
            Phase::Head => {
                // The last byte may have completed it.
                self.phase.set(Phase::Full);
                reader.wake_by_ref();
            }
            _ => *self.reader.borrow_mut() = Some(reader.clone()),
        }
        false
    }

    /// Whether nothing more is heard from a client that does not take its answers. `reader` is woken as soon as it does.
    fn is_deaf(&self, reader: &Waker) -> bool {
        let is_deaf =
            self.answer_until.get().is_some() && self.phase.get() != Phase::Busy { body: true };
        if is_deaf {
            *self.reader.borrow_mut() = Some(reader.clone());
        }
        is_deaf
    }

    /// Whether nothing is under way: no head has begun, and the last answer is taken. If something is, `reader` is woken when it ends.
    fn is_at_rest(&self, reader: &Waker) -> bool {
        let is_at_rest = matches!(self.phase.get(), Phase::Silent | Phase::Idle)
            && self.answer_until.get().is_none();
        if !is_at_rest {
            *self.reader.borrow_mut() = Some(reader.clone());
        }
        is_at_rest
    }

    /// So many bytes were read.
    fn received(&self, bytes: usize, now: impl FnOnce() -> Instant) {
        match self.phase.get() {
            Phase::Busy { body: true } => return,
            Phase::Idle => {
                self.head_until.set(Some(now() + self.head_timeout));
                self.phase.set(Phase::Head);
                self.room.set(FIRST_BYTES);
                self.granted.set(FIRST_BYTES);
            }
            Phase::Silent => self.phase.set(Phase::Head),
            Phase::Head | Phase::Full | Phase::Busy { body: false } => {}
        }
        self.room.set(self.room.get().saturating_sub(bytes));
    }

    /// A head is complete, and its request begins.
    fn asked(&self, body: bool) {
        self.phase.set(Phase::Busy { body });
        self.head_until.set(None);
    }

    /// The answer is said; not yet taken, perhaps.
    fn answered(&self) {
        self.phase.set(Phase::Idle);
        self.wake();
    }

    /// The client's side is full.
    fn stuck(&self, now: impl FnOnce() -> Instant) {
        if self.answer_until.get().is_none() {
            self.answer_until.set(Some(now() + ANSWER_TIMEOUT));
        }
    }

    /// It took so many bytes.
    fn taken(&self, bytes: usize) {
        if let Some(until) = self.answer_until.get() {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            let earned = Duration::from_millis(bytes.saturating_mul(1_000) / BYTES_A_SECOND);
            self.answer_until.set(Some(until.checked_add(earned).unwrap_or(until)));
        }
    }

    /// It took all there was.
    fn flushed(&self) {
        if self.answer_until.take().is_some() {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(reader) = self.reader.borrow_mut().take() {
            reader.wake();
        }
    }

    /// When to look at [`overdue`](Self::overdue) again, if ever. While an answer is stuck nobody can be told that a head is late.
    fn deadline(&self) -> Option<Instant> {
        self.answer_until.get().or(self.head_until.get())
    }

    fn overdue(&self, now: Instant) -> Option<Overdue> {
        let missed = match self.phase.get() {
            _ if self.answer_until.get().is_some() => Overdue::Answer,
            Phase::Silent => Overdue::Anything,
            _ => Overdue::Head,
        };
        self.deadline().is_some_and(|deadline| deadline <= now).then_some(missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Duration = Duration::from_secs(5);
    const SECOND: Duration = Duration::from_secs(1);

    fn pace() -> (Pace, Instant) {
        let now = Instant::now();
        (Pace::new(HEAD, now), now)
    }

    #[test]
    fn a_silent_connection_has_the_time_of_a_head() {
        let (pace, start) = pace();
        assert_eq!(pace.deadline(), Some(start + HEAD));
        assert_eq!(pace.overdue(start + HEAD - SECOND), None);
        assert_eq!(pace.overdue(start + HEAD), Some(Overdue::Anything));
    }

    #[test]
    fn drops_of_a_head_earn_no_time() {
        let (pace, start) = pace();
        for second in 1..5 {
            pace.received(1, || start + SECOND * second);
        }
        assert_eq!(pace.overdue(start + HEAD), Some(Overdue::Head));
    }

    #[test]
    fn every_head_has_its_own_time_from_its_first_byte() {
        let (pace, start) = pace();
        for minute in 0..3 {
            let begins = start + SECOND * 60 * minute;
            pace.received(20, || begins);
            pace.asked(false);
            assert_eq!(pace.deadline(), None, "a handler may take its time");
            pace.answered();
            assert_eq!(pace.deadline(), None, "so may a client between two requests");
        }
        let late = start + SECOND * 600;
        pace.received(1, || late);
        assert_eq!(pace.overdue(late + HEAD - SECOND), None);
        assert_eq!(pace.overdue(late + HEAD), Some(Overdue::Head));
    }

    #[test]
    fn a_head_has_so_many_bytes_and_the_last_one_may_complete_it() {
        let (pace, start) = pace();
        let mut bytes = 0;
        while !pace.is_too_large(Waker::noop()) {
            bytes += pace.room();
            pace.received(pace.room(), || start);
            assert_eq!(pace.room(), 0);
            assert!(!pace.is_too_large(Waker::noop()), "it may be complete");
        }
        assert_eq!(bytes, MAX_HEAD);
    }

    #[test]
    fn what_is_sent_ahead_waits() {
        let (pace, start) = pace();
        pace.received(FIRST_BYTES, || start);
        pace.asked(false);
        assert_eq!(pace.room(), 0);
        assert!(!pace.is_too_large(Waker::noop()));
        pace.answered();
        assert_eq!(pace.room(), FIRST_BYTES);
    }

    #[test]
    fn a_client_that_takes_nothing_is_not_heard_but_its_body_is() {
        let (pace, start) = pace();
        pace.received(100, || start);
        pace.asked(true);
        pace.stuck(|| start);
        assert!(!pace.is_deaf(Waker::noop()));
        pace.answered();
        assert!(pace.is_deaf(Waker::noop()));
        pace.flushed();
        assert!(!pace.is_deaf(Waker::noop()));
    }

    #[test]
    fn a_body_is_bounded_by_its_reader() {
        let (pace, start) = pace();
        pace.received(100, || start);
        pace.asked(true);
        pace.received(10 * MAX_HEAD, || start);
        assert_eq!(pace.room(), usize::MAX);
        assert_eq!(pace.deadline(), None);
    }

    #[test]
    fn an_answer_that_nobody_takes_has_its_time_and_bytes_earn_more() {
        let (pace, start) = pace();
        pace.received(100, || start);
        pace.asked(false);
        pace.stuck(|| start);
        pace.stuck(|| start + SECOND);
        assert_eq!(pace.overdue(start + ANSWER_TIMEOUT), Some(Overdue::Answer));
        pace.taken(2 * 4_096);
        assert_eq!(pace.overdue(start + ANSWER_TIMEOUT + SECOND), None);
        assert_eq!(pace.overdue(start + ANSWER_TIMEOUT + SECOND * 2), Some(Overdue::Answer));
        pace.flushed();
        assert_eq!(pace.deadline(), None);
    }

    #[test]
    fn a_connection_rests_before_and_between_requests_only() {
        let (pace, start) = pace();
        assert!(pace.is_at_rest(Waker::noop()));
        pace.received(20, || start);
        assert!(!pace.is_at_rest(Waker::noop()), "a head has begun");
        pace.asked(false);
        assert!(!pace.is_at_rest(Waker::noop()), "a request is being answered");
        pace.stuck(|| start);
        pace.answered();
        assert!(!pace.is_at_rest(Waker::noop()), "the answer is not taken");
        pace.flushed();
        assert!(pace.is_at_rest(Waker::noop()));
    }

    #[test]
    fn a_late_head_waits_for_an_answer_that_is_stuck() {
        let (pace, start) = pace();
        pace.received(100, || start);
        pace.asked(false);
        pace.answered();
        pace.received(1, || start);
        pace.stuck(|| start);
        assert_eq!(pace.overdue(start + HEAD), None);
        pace.flushed();
        assert_eq!(pace.overdue(start + HEAD), Some(Overdue::Head));
    }
}
