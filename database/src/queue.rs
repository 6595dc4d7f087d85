//! A bounded queue of jobs between many askers and few worker threads.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::DatabaseError;
use crate::job::Job;

/// First in, first out. Full or closed, it refuses at once: a caller that waits for room would
/// only move the queue to a place where nobody counts it.
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    capacity: usize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
    /// Jobs taken so far.
    taken: u64,
    /// Workers asleep that nobody has called yet. Rather too many than too few: a call for nothing is harmless.
    asleep: usize,
}

/// A place in a queue: what stands before it was asked before the mark was made.
pub(crate) struct Mark(u64);

impl State {
    fn take(&mut self) -> Option<Job> {
        let job = self.jobs.pop_front()?;
        self.taken = self.taken.saturating_add(1);
        Some(job)
    }
}

impl Queue {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { state: Mutex::default(), arrived: Condvar::new(), capacity }
    }

    /// Appends a job, or says why not.
    pub(crate) fn push(&self, job: Job) -> Result<(), DatabaseError> {
        let mut state = self.state();
        if state.closed {
            return Err(DatabaseError::Unavailable("closing"));
        }
        if state.jobs.len() >= self.capacity {
            return Err(DatabaseError::Unavailable("the queue is full"));
        }
        state.jobs.push_back(job);
        // A call is a system call, also when nobody hears it.
        let somebody_sleeps = state.asleep > 0;
        state.asleep = state.asleep.saturating_sub(1);
        drop(state);
        if somebody_sleeps {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Waits for the next job; `None` once the queue is closed and drained.
    pub(crate) fn pop(&self) -> Option<Job> {
        self.wait()?.take()
    }

    /// The same, and a mark behind everything that is queued by now.
    pub(crate) fn pop_marked(&self) -> Option<(Job, Mark)> {
        let mut state = self.wait()?;
        let job = state.take()?;
        let behind = u64::try_from(state.jobs.len()).unwrap_or(u64::MAX);
        Some((job, Mark(state.taken.saturating_add(behind))))
    }

    /// The next job if there is one before the mark.
    pub(crate) fn try_pop_before(&self, mark: &Mark) -> Option<Job> {
        let mut state = self.state();
        if state.taken < mark.0 { state.take() } else { None }
    }

    /// Waits until there is a job; `None` once the queue is closed and drained.
    fn wait(&self) -> Option<MutexGuard<'_, State>> {
        let mut state = self.state();
        if state.jobs.is_empty() && !state.closed {
            // To be woken up costs more than most jobs do. Where the askers wait for this processor they now get it, and come back
            // with many jobs; where they do not, this is over at once.
            drop(state);
            thread::yield_now();
            state = self.state();
        }
        while state.jobs.is_empty() {
            if state.closed {
                return None;
            }
            state.asleep = state.asleep.saturating_add(1);
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Some(state)
    }

    /// The next job if there is one already.
    pub(crate) fn try_pop(&self) -> Option<Job> {
        self.state().take()
    }

    /// Refuses what comes from now on; what is queued is still served.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_all();
    }

    pub(crate) fn len(&self) -> usize {
        self.state().jobs.len()
    }

    /// No foreign code runs under the lock, so a poisoned state is still whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
