//! A bounded queue of jobs between many askers and few worker threads.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

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
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Waits for the next job; `None` once the queue is closed and drained.
    pub(crate) fn pop(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The next job if there is one already.
    pub(crate) fn try_pop(&self) -> Option<Job> {
        self.state().jobs.pop_front()
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
