//! What every engine is: worker threads that own their connections, fed by bounded queues.
//!
//! An engine is a function that starts threads on a [`Machine`]: [`crate::sqlite::start`] and
//! [`crate::postgres::start`].

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::{Mutex, oneshot};

use crate::job::{Job, Kind};
use crate::queue::Queue;
use crate::statistics::{Gauges, Statistics};
use crate::{DatabaseError, Options};

/// Stack of a worker in bytes. Closures are shallow, and only touched pages count as memory.
const STACK: usize = 1024 * 1024;

/// The shared side of an open database. When its last handle is dropped the queues close, and
/// the threads finish what is queued and end.
pub(crate) struct Machine {
    pub(crate) options: Options,
    writes: Arc<Queue>,
    reads: Arc<Queue>,
    gauges: Arc<Gauges>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Machine {
    /// A machine without threads.
    pub(crate) fn new(options: &Options, gauges: Arc<Gauges>) -> Self {
        Self {
            options: options.clone(),
            writes: Arc::new(Queue::new(options.queue)),
            reads: Arc::new(Queue::new(options.queue)),
            gauges,
            threads: Mutex::default(),
        }
    }

    /// Starts a thread that serves one queue until it is closed and drained.
    pub(crate) fn hire(
        &mut self,
        name: &str,
        kind: Kind,
        work: impl FnOnce(&Queue) + Send + 'static,
    ) -> Result<(), DatabaseError> {
        let queue = Arc::clone(self.queue(kind));
        let gauges = Arc::clone(&self.gauges);
        self.start(name, move || {
            if catch_unwind(AssertUnwindSafe(|| work(&queue))).is_err() {
                // Closures cannot cause this, only a fault of ours; nobody may wait for the dead.
                log::error!("a database thread panicked");
                gauges.give_up();
                queue.close();
                while let Some(job) = queue.try_pop() {
                    job.refuse(DatabaseError::Unavailable("a database thread has died"));
                }
            }
        })
    }

    /// Starts a thread beside the queues; it must end by itself once the workers have ended.
    pub(crate) fn start(
        &mut self,
        name: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), DatabaseError> {
        self.threads.get_mut().push(spawn(name, work).map_err(no_thread)?);
        Ok(())
    }

    /// Queues a job, or refuses it at once.
    pub(crate) fn submit(&self, kind: Kind, job: Job) -> Result<(), DatabaseError> {
        self.queue(kind).push(job).inspect_err(|_| Gauges::count(&self.gauges.refused))
    }

    /// Refuses new jobs, then waits until the queued ones are answered and every thread is gone.
    /// Who calls while another closes waits just as long.
    pub(crate) async fn close(&self) {
        let mut threads = self.threads.lock().await;
        self.stop_taking();
        let threads = std::mem::take(&mut *threads);
        let joined = off_thread("db-close", move || {
            for thread in threads {
                // Workers catch their own panics, so there is nothing to learn from the result.
                drop(thread.join());
            }
        });
        if let Err(error) = joined.await {
            log::error!(error:%; "cannot wait for the database to close");
        }
    }

    pub(crate) fn statistics(&self) -> Statistics {
        self.gauges.snapshot(self.writes.len(), self.reads.len())
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.gauges.is_healthy()
    }

    fn queue(&self, kind: Kind) -> &Arc<Queue> {
        match kind {
            Kind::Read => &self.reads,
            Kind::Write => &self.writes,
        }
    }

    fn stop_taking(&self) {
        self.writes.close();
        self.reads.close();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop_taking();
    }
}

/// Runs something that blocks on a thread of its own, without blocking the caller's.
pub(crate) async fn off_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, DatabaseError> {
    let (reply, answer) = oneshot::channel();
    spawn(name, move || drop(reply.send(work()))).map_err(no_thread)?;
    answer.await.map_err(|_| DatabaseError::Unavailable("a helper thread has died"))
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(work)
}

fn no_thread(error: io::Error) -> DatabaseError {
    DatabaseError::Open(format!("cannot start a thread: {error}"))
}
