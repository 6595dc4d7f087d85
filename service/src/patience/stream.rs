//! A stream that keeps [`Pace`]: it reads no more than there is room for, and ends the connection of a client that is overdue.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::http::StatusCode;
use actix_web::http::header::Date;
use actix_web::rt::net::TcpStream;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Overdue, Pace};
use crate::connections::Seat;

/// What is still thrown away after a refusal. A connection that closes on unread bytes is reset, and takes the refusal with it.
const FAREWELL: Duration = Duration::from_secs(2);
/// Bytes read at once where little room is left, or what comes is thrown away.
const PORTION: usize = 1_024;

/// A stream over TCP.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// The connection below.
    fn tcp(&self) -> &TcpStream;
}

impl Transport for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Transport for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// A stream whose client is expected to get on.
pub(crate) struct Paced<T> {
    transport: T,
    pace: Rc<Pace>,
    /// Fires at the deadline or before it; then there is another look. So a deadline that moves away costs nothing.
    timer: Pin<Box<Sleep>>,
    is_armed: bool,
    is_leaving: bool,
    /// Ends when connections are to, unless a request is under way. None once it has.
    closing: Option<Closing>,
    _seat: Seat,
}

/// Ends when connections that wait for a next request are to end.
pub(crate) type Closing = Pin<Box<dyn Future<Output = ()>>>;

impl<T> fmt::Debug for Paced<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paced").field("pace", &self.pace).finish_non_exhaustive()
    }
}

impl<T: Transport> Paced<T> {
    /// From now on the client has `head_timeout` for each head. After `closing` the connection ends as soon as no request is under
    /// way. Its place is given back with the stream.
    pub(crate) fn new(transport: T, head_timeout: Duration, closing: Closing, seat: Seat) -> Self {
        let now = Instant::now();
        Self {
            transport,
            pace: Rc::new(Pace::new(head_timeout, now)),
            timer: Box::pin(sleep_until(now)),
            is_armed: false,
            is_leaving: false,
            closing: Some(closing),
            _seat: seat,
        }
    }

    /// How far the connection is.
    pub(crate) fn pace(&self) -> Rc<Pace> {
        self.pace.clone()
    }

    /// What the client has missed. If nothing, the task of `context` is woken when it may have.
    fn overdue(&mut self, context: &mut Context<'_>) -> Option<Overdue> {
        while let Some(deadline) = self.pace.deadline() {
            if !self.is_armed || self.timer.deadline() > deadline {
                self.timer.as_mut().reset(deadline);
                self.is_armed = true;
            }
            if self.timer.as_mut().poll(context).is_pending() {
                return None;
            }
            self.is_armed = false;
            let overdue = self.pace.overdue(Instant::now());
            if overdue.is_some() {
                return overdue;
            }
        }
        None
    }

    /// Whether the connection is over, since the server ends and not a byte of a next request has come. If not, the task of
    /// `context` is woken when it may be.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        if let Some(closing) = &mut self.closing {
            if closing.as_mut().poll(context).is_pending() {
                return false;
            }
            self.closing = None;
        }
        self.pace.is_at_rest(context.waker()) && !self.has_more()
    }

    /// Whether bytes have come of which the runtime has not heard yet; it will, and wakes who reads.
    fn has_more(&self) -> bool {
        let socket = SockRef::from(self.transport.tcp());
        socket.peek(&mut [MaybeUninit::uninit()]).is_ok_and(|bytes| bytes > 0)
    }

    /// After nothing could be written: an error as soon as the client has not taken its answer in time.
    fn poll_stuck<R>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<R>> {
        self.pace.stuck(Instant::now);
        match self.overdue(context) {
            Some(_) => Poll::Ready(Err(self.give_up())),
            None => Poll::Pending,
        }
    }

    /// Drops what the kernel still holds for the client, too.
    fn give_up(&self) -> io::Error {
        log::debug!("a client did not take its answer in time");
        match self.transport.tcp().set_zero_linger() {
            Ok(()) => io::ErrorKind::TimedOut.into(),
            Err(error) => error,
        }
    }

    /// Says why, and that nothing more will be.
    fn refuse(&mut self, status: StatusCode, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        log::debug!(status = status.as_u16(); "a request head was refused");
        let answer = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\nDate: {}\r\n\r\n",
            Date::now()
        );
        self.is_leaving = true;
        self.timer.as_mut().reset(Instant::now() + FAREWELL);
        // Whatever came before is taken already, so there is space for this line; a client without it is owed no second try.
        let transport = Pin::new(&mut self.transport);
        if let Poll::Ready(Ok(_)) = transport.poll_write(context, answer.as_bytes()) {
            let transport = Pin::new(&mut self.transport);
            if let Poll::Ready(Err(error)) = transport.poll_shutdown(context) {
                return Poll::Ready(Err(error));
            }
        }
        self.poll_farewell(context)
    }

    /// Throws away what comes, to its end or for [`FAREWELL`]; then says that this is the end.
    fn poll_farewell(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut portion = [0; PORTION];
            let mut portion = ReadBuf::new(&mut portion);
            match Pin::new(&mut self.transport).poll_read(context, &mut portion) {
                Poll::Ready(Ok(())) if !portion.filled().is_empty() => {}
                Poll::Ready(end) => return Poll::Ready(end),
                Poll::Pending => return self.timer.as_mut().poll(context).map(Ok),
            }
        }
    }

    /// Reads at most `room` bytes.
    fn poll_some(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        room: usize,
    ) -> Poll<io::Result<()>> {
        let transport = Pin::new(&mut self.transport);
        if buffer.remaining() <= room {
            return transport.poll_read(context, buffer);
        }
        let mut portion = [0; PORTION];
        let portion = portion.get_mut(..room.min(PORTION)).unwrap_or_default();
        let mut portion = ReadBuf::new(portion);
        ready!(transport.poll_read(context, &mut portion))?;
        buffer.put_slice(portion.filled());
        Poll::Ready(Ok(()))
    }
}

impl<T: Transport> AsyncRead for Paced<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_leaving {
            return this.poll_farewell(context);
        }
        let room = this.pace.room();
        if this.pace.is_deaf(context.waker()) {
            // There is more than enough to say already.
        } else if room == 0 {
            if this.pace.is_too_large(context.waker()) {
                return this.refuse(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, context);
            }
        } else {
            let before = buffer.filled().len();
            if let Poll::Ready(read) = this.poll_some(context, buffer, room) {
                let bytes = buffer.filled().len() - before;
                if bytes > 0 {
                    this.pace.received(bytes, Instant::now);
                }
                return Poll::Ready(read);
            }
        }
        match this.overdue(context) {
            // As if the client had closed: what is still to be written is.
            None if this.is_over(context) => Poll::Ready(Ok(())),
            None => Poll::Pending,
            // To a client that asked nothing there is nothing to answer: the stream ends.
            Some(Overdue::Anything) => Poll::Ready(Ok(())),
            Some(Overdue::Head) => this.refuse(StatusCode::REQUEST_TIMEOUT, context),
            Some(Overdue::Answer) => Poll::Ready(Err(this.give_up())),
        }
    }
}

impl<T: Transport> AsyncWrite for Paced<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.transport).poll_write(context, bytes) {
            Poll::Ready(written) => {
                this.pace.taken(*written.as_ref().unwrap_or(&0));
                Poll::Ready(written)
            }
            Poll::Pending => this.poll_stuck(context),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.transport).poll_flush(context) {
            Poll::Ready(flushed) => {
                // The HTTP library flushes when it has written all that it had.
                this.pace.flushed();
                Poll::Ready(flushed)
            }
            Poll::Pending => this.poll_stuck(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.transport).poll_shutdown(context) {
            Poll::Ready(end) => Poll::Ready(end),
            Poll::Pending => this.poll_stuck(context),
        }
    }
}
