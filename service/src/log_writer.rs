//! Where log lines go: many of them with one system call.
//!
//! A write of its own for each line costs a busy server as much as everything else that a warm request needs. So a line waits for others,
//! [`GATHERING`] long, and one thread writes them all. There is [`ROOM`] for lines that wait; when it is full, whoever logs waits too,
//! instead of growing. A log that takes nothing for [`PATIENCE`] is no reason to answer nobody: lines that it has no room for are lost,
//! and counted, until it moves again.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a line may wait for others.
const GATHERING: Duration = Duration::from_millis(5);
/// Bytes that may wait.
const ROOM: usize = 64 * 1024;
/// How long whoever logs waits for room, and the end of the process for the last lines.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two tries to write where the other end is not ready (`O_NONBLOCK`).
const PAUSE: Duration = Duration::from_millis(1);

/// Lines of this process that could not be written.
pub(crate) static LOST: AtomicU64 = AtomicU64::new(0);

/// Takes lines for a sink that is written to in large pieces.
pub(crate) struct Lines<W>(Arc<Shared<W>>);

struct Shared<W> {
    waiting: Mutex<Waiting>,
    /// A first line, the last room, the end.
    arrived: Condvar,
    /// There is room again, or everything is written for good.
    moved: Condvar,
    outlet: Mutex<Outlet<W>>,
    lost: &'static AtomicU64,
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of its own between two threads")]
struct Waiting {
    lines: Vec<u8>,
    /// Somebody waits for room.
    is_full: bool,
    /// Somebody waited for room in vain.
    is_stuck: bool,
    /// No more is gathered: what waits is written, and the thread ends.
    is_closed: bool,
    /// The thread has ended: whoever has a line writes it.
    has_ended: bool,
}

struct Outlet<W> {
    sink: W,
    /// The memory of the last piece, for the lines after the next.
    piece: Vec<u8>,
    /// The last piece ended in the middle of a line.
    is_torn: bool,
}

/// While it lives lines are gathered; dropped, it writes what waits, and later lines are written at once.
#[must_use]
pub(crate) struct Gathering<W: Write + Send + 'static>(Arc<Shared<W>>);

/// Gathers lines for `sink`, and counts in `lost` those that it refuses. Fails if there can be no thread; then nothing would come for
/// the lines.
pub(crate) fn gather<W: Write + Send + 'static>(
    sink: W,
    lost: &'static AtomicU64,
) -> io::Result<(Lines<W>, Gathering<W>)> {
    let shared = Arc::new(Shared {
        waiting: Mutex::default(),
        arrived: Condvar::new(),
        moved: Condvar::new(),
        outlet: Mutex::new(Outlet { sink, piece: Vec::new(), is_torn: false }),
        lost,
    });
    let of_thread = shared.clone();
    thread::Builder::new().name("log".into()).spawn(move || of_thread.serve())?;
    Ok((Lines(shared.clone()), Gathering(shared)))
}

impl<W: Write> Shared<W> {
    /// Writes what waits, again and again, until closed.
    fn serve(&self) {
        let mut outlet = lock(&self.outlet);
        let mut waiting = lock(&self.waiting);
        loop {
            if !waiting.lines.is_empty() {
                let gathers = |now: &mut Waiting| !now.is_closed && !now.is_full;
                let gathered = self.arrived.wait_timeout_while(waiting, GATHERING, gathers);
                waiting = gathered.unwrap_or_else(PoisonError::into_inner).0;
                mem::swap(&mut waiting.lines, &mut outlet.piece);
                waiting.is_full = false;
                drop(waiting);
                self.moved.notify_all();
                self.count(outlet.write_piece());
                waiting = lock(&self.waiting);
                waiting.is_stuck = false;
            } else if waiting.is_closed {
                waiting.has_ended = true;
                self.moved.notify_all();
                return;
            } else {
                waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn take(&self, line: &[u8]) {
        let mut waiting = lock(&self.waiting);
        if waiting.has_ended {
            drop(waiting);
            return self.write_at_once(line);
        }
        let has_no_room =
            |now: &Waiting| !now.lines.is_empty() && now.lines.len() + line.len() > ROOM;
        if has_no_room(&waiting) {
            waiting.is_full = true;
            self.arrived.notify_one();
            if !waiting.is_stuck {
                let waits = |now: &mut Waiting| has_no_room(now) && !now.is_stuck;
                let waited = self.moved.wait_timeout_while(waiting, PATIENCE, waits);
                waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            if has_no_room(&waiting) {
                waiting.is_stuck = true;
                return self.count(1);
            }
        }
        let is_first = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        if is_first {
            self.arrived.notify_one();
        }
    }

    fn write_at_once(&self, line: &[u8]) {
        let mut outlet = lock(&self.outlet);
        outlet.piece.extend_from_slice(line);
        self.count(outlet.write_piece());
    }

    fn count(&self, lost: usize) {
        self.lost.fetch_add(u64::try_from(lost).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl<W: Write> Outlet<W> {
    /// Writes the piece; returns how many of its lines could not be. There is no other place to say so, and no reason to refuse requests.
    fn write_piece(&mut self) -> usize {
        let Self { sink, piece, is_torn } = self;
        if *is_torn {
            // What comes now must not look like the rest of that line.
            piece.insert(0, b'\n');
        }
        let mut left = piece.as_slice();
        let mut lost = 0;
        while !left.is_empty() {
            match sink.write(left) {
                Ok(written) if written > 0 => left = left.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => pause(),
                Ok(_) | Err(_) => {
                    lost = left.split_inclusive(|byte| *byte == b'\n').count();
                    break;
                }
            }
        }
        let written = piece.len() - left.len();
        if let Some(last) = written.checked_sub(1).and_then(|last| piece.get(last)) {
            *is_torn = *last != b'\n';
        }
        piece.clear();
        lost
    }
}

#[expect(clippy::disallowed_methods, reason = "the thread waits for whoever reads the log")]
fn pause() {
    thread::sleep(PAUSE);
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.take(line);
        Ok(line.len())
    }

    /// Called after each line; they are written when it is time.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write + Send + 'static> Drop for Gathering<W> {
    fn drop(&mut self) {
        let mut waiting = lock(&self.0.waiting);
        waiting.is_closed = true;
        self.0.arrived.notify_one();
        // A log that nobody reads any more must not keep the process alive.
        let ended = self.0.moved.wait_timeout_while(waiting, PATIENCE, |now| !now.has_ended);
        drop(ended);
    }
}

impl<W: Write + Send + 'static> fmt::Debug for Gathering<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gathering(..)")
    }
}

/// A panic elsewhere leaves whole lines behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Hands over every piece; a closed gate makes a writer wait.
    struct Sink(Sender<Vec<u8>>, Arc<Mutex<()>>);

    impl Write for Sink {
        fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
            drop(lock(&self.1));
            self.0.send(piece.to_vec()).map_err(io::Error::other)?;
            Ok(piece.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Open {
        lines: Lines<Sink>,
        gathering: Gathering<Sink>,
        pieces: Receiver<Vec<u8>>,
        gate: Arc<Mutex<()>>,
        lost: &'static AtomicU64,
    }

    fn open() -> Open {
        let (sender, pieces) = channel();
        let gate = Arc::new(Mutex::new(()));
        let lost = Box::leak(Box::new(AtomicU64::new(0)));
        let (lines, gathering) = gather(Sink(sender, gate.clone()), lost).unwrap();
        Open { lines, gathering, pieces, gate, lost }
    }

    fn line_of(bytes: usize) -> Vec<u8> {
        let mut line = vec![b'x'; bytes];
        line.push(b'\n');
        line
    }

    #[test]
    fn a_line_is_written_without_another_one() {
        let Open { mut lines, gathering: _gathering, pieces, .. } = open();
        lines.write_all(b"one\n").unwrap();
        assert_eq!(pieces.recv().unwrap(), b"one\n");
    }

    #[test]
    fn lines_share_a_write_and_keep_their_order() {
        let Open { mut lines, gathering, pieces, gate, lost } = open();
        // While the log is slow, lines wait for it together.
        let closed = lock(&gate);
        lines.write_all(b"0\n").unwrap();
        let mut expected = String::from("0\n");
        for number in 1..1_000 {
            let line = format!("{number}\n");
            lines.write_all(line.as_bytes()).unwrap();
            expected.push_str(&line);
        }
        drop(closed);
        drop((gathering, lines));
        let pieces: Vec<Vec<u8>> = pieces.iter().collect();
        assert!(pieces.len() <= 3, "{} writes", pieces.len());
        assert_eq!(String::from_utf8(pieces.concat()).unwrap(), expected);
        assert_eq!(lost.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn who_finds_no_room_waits_for_it_and_loses_nothing() {
        let Open { mut lines, gathering, pieces, lost, .. } = open();
        let line = line_of(ROOM / 3);
        for _ in 0..50 {
            lines.write_all(&line).unwrap();
        }
        drop((gathering, lines));
        assert_eq!(pieces.iter().map(|piece| piece.len()).sum::<usize>(), 50 * line.len());
        assert_eq!(lost.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_log_that_takes_nothing_loses_what_has_no_room_and_stops_nobody() {
        let Open { mut lines, gathering, pieces, gate, lost } = open();
        let closed = lock(&gate);
        let line = line_of(ROOM / 2);
        // One piece is on its way and one fills the room; from the third on there is none.
        for _ in 0..5 {
            lines.write_all(&line).unwrap();
        }
        let missing = lost.load(Ordering::Relaxed);
        assert!((2..=4).contains(&missing), "{missing}");
        drop(gathering);
        drop(closed);
        drop(lines);
        let written: usize = pieces.iter().map(|piece| piece.len()).sum();
        assert_eq!(written / line.len(), 5 - usize::try_from(missing).unwrap());
    }

    #[test]
    fn what_waits_at_the_end_and_what_comes_after_it_is_written() {
        let Open { mut lines, gathering, pieces, .. } = open();
        lines.write_all(b"last\n").unwrap();
        drop(gathering);
        lines.write_all(b"after it\n").unwrap();
        drop(lines);
        assert_eq!(pieces.iter().collect::<Vec<_>>().concat(), b"last\nafter it\n");
    }

    /// Takes a few bytes at a time, and meets what a system call may meet.
    struct Moody {
        taken: Vec<u8>,
        moods: Vec<Result<usize, ErrorKind>>,
    }

    impl Write for Moody {
        fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
            let mood = if self.moods.is_empty() { Ok(piece.len()) } else { self.moods.remove(0) };
            let taken = mood.map_err(io::Error::from)?.min(piece.len());
            self.taken.extend_from_slice(&piece[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_a_real_failure_loses_lines_and_the_next_one_stands_alone() {
        let moods = vec![
            Ok(2),
            Err(ErrorKind::Interrupted),
            Err(ErrorKind::WouldBlock),
            Ok(4),
            Err(ErrorKind::StorageFull),
        ];
        let sink = Moody { taken: Vec::new(), moods };
        let mut outlet = Outlet { sink, piece: b"one\ntwo\nthree\n".to_vec(), is_torn: false };
        assert_eq!(outlet.write_piece(), 2, "the rest of `two`, and `three`");
        outlet.piece.extend_from_slice(b"four\n");
        assert_eq!(outlet.write_piece(), 0);
        assert_eq!(outlet.sink.taken, b"one\ntw\nfour\n");
    }
}
