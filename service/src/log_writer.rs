//! Where log lines go: many of them with one system call.
//!
//! A write of its own for each line costs a busy server as much as everything else that a warm request needs. So a line is kept until a
//! thread comes for all of them, [`GATHERING`] after the first, or until there is [`ROOM`] full of them: then whoever logs writes, and so
//! waits for a slow log instead of growing. Nothing is ever thrown away while the process lives.

use std::fmt;
use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a line may wait for others.
const GATHERING: Duration = Duration::from_millis(5);
/// Bytes that may wait.
const ROOM: usize = 64 * 1024;

/// Takes lines for a sink that is written to in large pieces.
pub(crate) struct Lines<W>(Arc<Shared<W>>);

struct Shared<W> {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    /// Locked before `waiting`, so that pieces keep the order of their lines.
    outlet: Mutex<Outlet<W>>,
}

struct Outlet<W> {
    sink: W,
    /// The memory of the last piece, for the lines after the next.
    piece: Vec<u8>,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    /// Nobody comes for the lines any more: whoever has one writes it.
    is_closed: bool,
}

/// While it lives lines are gathered; dropped, it writes what waits, and later lines are written at once.
#[must_use]
pub(crate) struct Gathering<W: Write + Send + 'static> {
    shared: Arc<Shared<W>>,
    thread: Option<JoinHandle<()>>,
}

/// Gathers lines for `sink`. Fails if there can be no thread; then nothing would come for the lines.
pub(crate) fn gather<W: Write + Send + 'static>(sink: W) -> io::Result<(Lines<W>, Gathering<W>)> {
    let shared = Arc::new(Shared {
        waiting: Mutex::default(),
        arrived: Condvar::new(),
        outlet: Mutex::new(Outlet { sink, piece: Vec::new() }),
    });
    let of_thread = shared.clone();
    let thread = thread::Builder::new().name("log".into()).spawn(move || of_thread.serve())?;
    Ok((Lines(shared.clone()), Gathering { shared, thread: Some(thread) }))
}

impl<W: Write> Shared<W> {
    /// Writes what waits, again and again, until closed.
    fn serve(&self) {
        let mut waiting = lock(&self.waiting);
        while !waiting.is_closed {
            if waiting.lines.is_empty() {
                waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            // Only the end cuts this short: lines that join do not.
            let gathered =
                self.arrived.wait_timeout_while(waiting, GATHERING, |now| !now.is_closed);
            drop(gathered);
            self.write_out();
            waiting = lock(&self.waiting);
        }
    }

    fn take(&self, line: &[u8]) {
        let mut waiting = lock(&self.waiting);
        let is_first = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        let is_due = waiting.is_closed || waiting.lines.len() >= ROOM;
        drop(waiting);
        if is_due {
            self.write_out();
        } else if is_first {
            self.arrived.notify_one();
        }
    }

    /// A log that cannot be written is no reason to refuse requests, and there is no other place to say so.
    fn write_out(&self) {
        let mut outlet = lock(&self.outlet);
        let Outlet { sink, piece } = &mut *outlet;
        mem::swap(&mut lock(&self.waiting).lines, piece);
        if !piece.is_empty() {
            drop(sink.write_all(piece).and_then(|()| sink.flush()));
            piece.clear();
        }
    }
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
        lock(&self.shared.waiting).is_closed = true;
        self.shared.arrived.notify_one();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
        self.shared.write_out();
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
    use std::sync::mpsc;

    use super::*;

    /// Hands over every piece; a closed gate makes a writer wait.
    struct Sink(mpsc::Sender<Vec<u8>>, Arc<Mutex<()>>);

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

    type Open = (Lines<Sink>, Gathering<Sink>, mpsc::Receiver<Vec<u8>>, Arc<Mutex<()>>);

    fn open() -> Open {
        let (sender, pieces) = mpsc::channel();
        let gate = Arc::new(Mutex::new(()));
        let (lines, gathering) = gather(Sink(sender, gate.clone())).unwrap();
        (lines, gathering, pieces, gate)
    }

    #[test]
    fn a_line_is_written_without_another_one() {
        let (mut lines, _gathering, pieces, _) = open();
        lines.write_all(b"one\n").unwrap();
        assert_eq!(pieces.recv().unwrap(), b"one\n");
    }

    #[test]
    fn lines_share_a_write_and_keep_their_order() {
        let (mut lines, gathering, pieces, gate) = open();
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
        drop(gathering);
        drop(lines);
        let pieces: Vec<Vec<u8>> = pieces.iter().collect();
        assert!(pieces.len() <= 3, "{} writes", pieces.len());
        let all = String::from_utf8(pieces.concat()).unwrap();
        assert_eq!(all, expected);
    }

    #[test]
    fn who_logs_more_than_there_is_room_for_writes_it() {
        let (mut lines, gathering, pieces, _) = open();
        let line = vec![b'x'; ROOM];
        lines.write_all(&line).unwrap();
        assert_eq!(pieces.try_recv().unwrap().len(), ROOM, "written when the call is back");
        drop(gathering);
    }

    #[test]
    fn what_waits_at_the_end_and_what_comes_after_it_is_written() {
        let (mut lines, gathering, pieces, _) = open();
        lines.write_all(b"last\n").unwrap();
        drop(gathering);
        lines.write_all(b"after it\n").unwrap();
        drop(lines);
        assert_eq!(pieces.iter().collect::<Vec<_>>().concat(), b"last\nafter it\n");
    }
}
