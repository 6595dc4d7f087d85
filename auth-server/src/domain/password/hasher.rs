//! The password hasher: a few threads of its own, each with one memory buffer, and two bounded lines before them.
//!
//! A hash takes about 20 ms and 19 MiB by design. So it never runs on a thread that serves requests, never more of them at once than
//! configured, and a buffer is used again and again: page faults of a fresh one cost as much as the hash itself. A thread starts with
//! the first password that finds nobody free and ends, with its buffer, after [`IDLE`] without one: an idle server holds none.
//!
//! Known browsers and strangers take turns: a full line of one delays the other by at most as much again as it waits itself.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use argon2::Block;
use tokio::sync::oneshot;

use super::MAX_PASSWORD_BYTES;
use super::phc::{Cost, HASH_BYTES, Phc};
use super::places::{Places, Standing};
use crate::domain::secret::PlainSecret;

/// How long a thread waits for the next password before it ends.
const IDLE: Duration = Duration::from_secs(30);

/// Room for this many blocks of 1 KiB is reserved at least; what is not used is address space, not memory.
///
/// glibc gives memory back to the system at once only if it was mapped on its own, and what is larger than 32 MiB always is; of
/// smaller buffers it learns to keep a heap, which would stay with an idle server.
const MAPPED_BLOCKS: usize = 33 * 1_024;

/// Why nothing was decided about a password. Over HTTP: 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HasherFault {
    /// Too many passwords wait already.
    #[error("too many passwords are being checked")]
    Busy,
    /// A thread or memory could not be had, or the settings name an impossible cost.
    #[error("passwords cannot be hashed")]
    Failed,
}

/// Argon2id parameters ([OWASP](https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html): m=19456, t=2, p=1).
#[derive(Clone, Debug)]
pub struct Argon2Cost {
    /// Memory of one hash, in KiB.
    pub memory_kib: u32,
    /// Passes.
    pub iterations: u32,
    /// Hashes at the same time; each holds its memory.
    pub concurrency: usize,
    /// Hashes that may wait; more is 503. A quarter is kept for browsers that have signed in before.
    pub queue: usize,
}

impl Default for Argon2Cost {
    fn default() -> Self {
        Self { memory_kib: 19_456, iterations: 2, concurrency: 2, queue: 128 }
    }
}

impl From<&Argon2Cost> for Cost {
    fn from(settings: &Argon2Cost) -> Self {
        Self { memory_kib: settings.memory_kib, iterations: settings.iterations }
    }
}

/// Hashes and checks passwords, at most so many at the same time, the rest in bounded lines.
#[derive(Debug)]
pub struct PasswordHasher {
    cost: Cost,
    pool: Arc<Pool>,
}

impl PasswordHasher {
    /// A hasher of that cost. No thread and no memory is taken before the first password.
    pub fn new(settings: &Argon2Cost) -> Self {
        Self::with_idle(settings, IDLE)
    }

    fn with_idle(settings: &Argon2Cost, idle: Duration) -> Self {
        let pool = Pool {
            state: Mutex::new(State {
                places: Places::new(settings.concurrency.max(1), settings.queue),
                ..State::default()
            }),
            work_or_end: Condvar::new(),
            threads: settings.concurrency.max(1),
            idle,
        };
        Self { cost: Cost::from(settings), pool: Arc::new(pool) }
    }

    /// A place in line, for [`verify`](Self::verify). It is given back when it is dropped.
    pub fn place(&self, standing: Standing) -> Result<Place, HasherFault> {
        let line = self.pool.lock().places.take(standing).ok_or(HasherFault::Busy)?;
        Ok(Place { pool: Arc::clone(&self.pool), line })
    }

    /// The PHC string of `password`; `salt` is fresh and random. Waits among strangers.
    pub async fn hash(&self, password: PlainSecret, salt: [u8; 16]) -> Result<String, HasherFault> {
        let place = self.place(Standing::Unknown)?;
        let hash = self.compute(place, self.cost, salt.to_vec(), password).await?;
        Ok(Phc::new(self.cost, &salt, hash).write())
    }

    /// Whether `password` is the one of `stored`. Without one (unknown user, no password) the same work is done for nothing, so
    /// that the time does not tell who exists.
    pub async fn verify(
        &self,
        place: Place,
        stored: Option<String>,
        password: PlainSecret,
    ) -> Result<bool, HasherFault> {
        let phc = stored.as_deref().and_then(Phc::parse);
        if stored.is_some() && phc.is_none() {
            log::error!("a stored password hash cannot be read: nobody can sign in with it");
        }
        let (cost, salt) = match &phc {
            Some(phc) => (phc.cost, phc.salt.clone()),
            None => (self.cost, vec![0; 16]),
        };
        let may_match = password.expose().len() <= MAX_PASSWORD_BYTES;
        let hash = self.compute(place, cost, salt, password).await?;
        Ok(phc.is_some_and(|phc| phc.matches(&hash)) && may_match)
    }

    /// Whether `stored` was made at another cost than today's: then hash the password again, now that it is at hand, and replace it.
    pub fn needs_rehash(&self, stored: &str) -> bool {
        Phc::parse(stored).is_none_or(|phc| phc.cost != self.cost)
    }

    /// Passwords that wait for a thread now, for the metrics.
    pub fn waiting(&self) -> usize {
        self.pool.lock().waiting()
    }

    async fn compute(
        &self,
        place: Place,
        cost: Cost,
        salt: Vec<u8>,
        password: PlainSecret,
    ) -> Result<[u8; HASH_BYTES], HasherFault> {
        let (reply, answer) = oneshot::channel();
        self.pool.submit(Job { place, cost, salt, password, reply })?;
        answer.await.unwrap_or(Err(HasherFault::Failed))
    }
}

/// Waiting passwords are dropped, threads end after the one they have.
impl Drop for PasswordHasher {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.closed = true;
        let waiting = (std::mem::take(&mut state.known), std::mem::take(&mut state.unknown));
        self.pool.work_or_end.notify_all();
        drop(state);
        // Only now: each of them gives its place back, which takes the lock.
        drop(waiting);
    }
}

/// The right to have one password checked, whatever comes meanwhile. To drop it takes the pool's lock: never while holding it.
#[derive(Debug)]
pub struct Place {
    pool: Arc<Pool>,
    line: Standing,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pool.lock().places.give_back(self.line);
    }
}

struct Job {
    place: Place,
    cost: Cost,
    salt: Vec<u8>,
    password: PlainSecret,
    reply: oneshot::Sender<Result<[u8; HASH_BYTES], HasherFault>>,
}

#[derive(Debug)]
struct Pool {
    state: Mutex<State>,
    work_or_end: Condvar,
    threads: usize,
    idle: Duration,
}

#[derive(Default)]
struct State {
    places: Places,
    known: VecDeque<Job>,
    unknown: VecDeque<Job>,
    /// Whose turn it is when both wait.
    unknown_is_next: bool,
    running: usize,
    threads: usize,
    closed: bool,
}

impl State {
    fn waiting(&self) -> usize {
        self.known.len() + self.unknown.len()
    }

    fn pop(&mut self) -> Option<Job> {
        let (first, second) = if self.unknown_is_next {
            (&mut self.unknown, &mut self.known)
        } else {
            (&mut self.known, &mut self.unknown)
        };
        let job = first.pop_front().or_else(|| second.pop_front())?;
        self.unknown_is_next = job.place.line != Standing::Unknown;
        Some(job)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("waiting", &self.waiting())
            .field("running", &self.running)
            .finish_non_exhaustive()
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(self: &Arc<Self>, job: Job) -> Result<(), HasherFault> {
        let mut state = self.lock();
        let unanswered = state.waiting() + state.running;
        // Every thread has a job already, running or in the queue.
        if state.threads <= unanswered && state.threads < self.threads {
            let pool = Arc::clone(self);
            match std::thread::Builder::new().name("password".into()).spawn(move || pool.work()) {
                Ok(_detached) => state.threads += 1,
                Err(_) if state.threads == 0 => {
                    // Before the job goes, and its place with it.
                    drop(state);
                    return Err(HasherFault::Failed);
                }
                Err(_) => log::warn!("a further thread for passwords cannot be started"),
            }
        }
        match job.place.line {
            Standing::Known(_) => state.known.push_back(job),
            Standing::Unknown => state.unknown.push_back(job),
        }
        self.work_or_end.notify_one();
        Ok(())
    }

    fn work(&self) {
        let mut buffer = Vec::new();
        while let Some(job) = self.next() {
            // Whoever asked may have given up; then somebody else waits for this thread.
            let hash = if job.reply.is_closed() {
                Err(HasherFault::Busy)
            } else {
                // A panic would take the thread's place in the pool with it.
                let work = AssertUnwindSafe(|| compute(&job, &mut buffer));
                catch_unwind(work).unwrap_or(Err(HasherFault::Failed))
            };
            let Job { place, reply, .. } = job;
            self.lock().running -= 1;
            // Before the answer: whoever has it may ask again at once.
            drop(place);
            reply.send(hash).ok();
        }
    }

    /// The next job, or `None` when this thread must end: it is then already counted out, so no job can be left to it.
    fn next(&self) -> Option<Job> {
        let idle = |state: &mut State| state.waiting() == 0 && !state.closed;
        let woken = self.work_or_end.wait_timeout_while(self.lock(), self.idle, idle);
        let mut state = woken.unwrap_or_else(PoisonError::into_inner).0;
        let job = state.pop();
        match job {
            Some(_) => state.running += 1,
            None => state.threads -= 1,
        }
        job
    }
}

fn compute(job: &Job, buffer: &mut Vec<Block>) -> Result<[u8; HASH_BYTES], HasherFault> {
    let argon2 = job.cost.argon2().ok_or(HasherFault::Failed)?;
    let blocks = argon2.params().block_count();
    if let Some(missing) = blocks.checked_sub(buffer.len()) {
        let room = missing.max(MAPPED_BLOCKS.saturating_sub(buffer.len()));
        buffer.try_reserve_exact(room).map_err(|_| HasherFault::Failed)?;
        buffer.resize(blocks, Block::default());
    }
    let memory = buffer.get_mut(..blocks).ok_or(HasherFault::Failed)?;
    let mut hash = [0; HASH_BYTES];
    argon2
        .hash_password_into_with_memory(
            job.password.expose().as_bytes(),
            &job.salt,
            &mut hash,
            memory,
        )
        .map_err(|_| HasherFault::Failed)?;
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::row_id::RowId;

    fn hasher(concurrency: usize, queue: usize) -> PasswordHasher {
        PasswordHasher::new(&Argon2Cost { memory_kib: 8, iterations: 1, concurrency, queue })
    }

    async fn verify(hasher: &PasswordHasher, stored: Option<&str>, password: &str) -> bool {
        let place = hasher.place(Standing::Unknown).unwrap();
        hasher.verify(place, stored.map(Into::into), PlainSecret::new(password)).await.unwrap()
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn a_password_matches_its_own_hash_only() {
        run(async {
            let hasher = hasher(2, 8);
            let stored = hasher.hash(PlainSecret::new("correct horse"), [7; 16]).await.unwrap();
            assert!(stored.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{stored}");
            assert!(verify(&hasher, Some(&stored), "correct horse").await);
            assert!(!verify(&hasher, Some(&stored), "correct horsf").await);
            assert!(!verify(&hasher, Some(&stored), "").await);
        });
    }

    #[test]
    fn nobody_matches_where_nothing_readable_is_stored() {
        run(async {
            let hasher = hasher(1, 8);
            assert!(!verify(&hasher, None, "password").await);
            assert!(!verify(&hasher, Some("password"), "password").await);
        });
    }

    #[test]
    fn a_hash_of_another_cost_is_checked_at_its_own_and_wants_a_new_one() {
        run(async {
            let old = PasswordHasher::new(&Argon2Cost {
                memory_kib: 32,
                iterations: 2,
                concurrency: 1,
                queue: 1,
            });
            let stored = old.hash(PlainSecret::new("password"), [7; 16]).await.unwrap();
            let today = hasher(1, 8);
            assert!(verify(&today, Some(&stored), "password").await);
            assert!(today.needs_rehash(&stored));
            assert!(!old.needs_rehash(&stored));
        });
    }

    #[test]
    fn no_thread_and_no_memory_is_taken_before_the_first_password() {
        assert_eq!(hasher(4, 8).pool.lock().threads, 0);
    }

    #[test]
    fn a_full_queue_refuses_at_once() {
        run(async {
            let hasher = hasher(1, 4);
            let places: Vec<_> = (0..4).map(|_| hasher.place(Standing::Unknown).unwrap()).collect();
            assert_eq!(hasher.place(Standing::Unknown).err(), Some(HasherFault::Busy));
            let refused = hasher.hash(PlainSecret::new("password"), [0; 16]).await;
            assert_eq!(refused, Err(HasherFault::Busy));
            drop(places);
            assert!(hasher.hash(PlainSecret::new("password"), [0; 16]).await.is_ok());
        });
    }

    #[test]
    fn a_place_is_free_again_when_its_answer_is_there() {
        run(async {
            let hasher = hasher(1, 1);
            for round in 0..50 {
                let place = hasher.place(Standing::Unknown);
                assert!(place.is_ok(), "{round}");
                hasher.verify(place.unwrap(), None, PlainSecret::new("password")).await.unwrap();
            }
        });
    }

    #[test]
    fn known_browsers_and_strangers_take_turns() {
        let hasher = hasher(1, 32);
        let known = |account| Standing::Known(RowId::new(account));
        // As if every thread had a job that never ends.
        hasher.pool.lock().threads = 1;
        hasher.pool.lock().running = 1;
        let strangers = std::iter::repeat_n(Standing::Unknown, 3);
        for standing in strangers.chain((0..3).map(known)) {
            let job = Job {
                place: hasher.place(standing).unwrap(),
                cost: hasher.cost,
                salt: vec![0; 16],
                password: PlainSecret::new("password"),
                reply: oneshot::channel().0,
            };
            hasher.pool.submit(job).unwrap();
        }
        for (turn, expected) in
            [known(0), Standing::Unknown, known(1), Standing::Unknown, known(2), Standing::Unknown]
                .into_iter()
                .enumerate()
        {
            let job = hasher.pool.lock().pop().unwrap();
            assert_eq!(job.place.line, expected, "{turn}");
        }
    }

    #[test]
    fn many_at_once_are_all_answered_by_the_few() {
        run(async {
            let hasher = hasher(3, 80);
            let attempts = (0..60)
                .map(|n: u8| hasher.hash(PlainSecret::new(format!("password {n}")), [n; 16]));
            let hashes = futures_util::future::join_all(attempts).await;
            assert!(hashes.iter().all(Result::is_ok), "{hashes:?}");
            assert!(hasher.pool.lock().threads <= 3);
        });
    }

    #[test]
    fn a_thread_that_ends_leaves_no_password_behind() {
        run(async {
            let settings = Argon2Cost { memory_kib: 8, iterations: 1, concurrency: 2, queue: 8 };
            // Every thread ends as soon as it finds nothing to do, so most passwords meet one that is just ending.
            let hasher = PasswordHasher::with_idle(&settings, Duration::ZERO);
            for n in 0..200 {
                assert!(hasher.hash(PlainSecret::new("password"), [n; 16]).await.is_ok(), "{n}");
            }
        });
    }
}
