//! A connection as the HTTP dispatcher reads and writes it. It ends when its client is too slow: with 408 when the head
//! of a request is late, with a reset when a response is not read.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::rt::net::TcpStream;
use actix_web::web::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::limits::Timeouts;
use super::socket_options::close_at_once;
use crate::base::telemetry::metrics;

/// The response when a request's head does not arrive in time.
const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Request activity of a connection, shared with its stream, which sees only bytes.
#[derive(Debug, Default)]
pub struct Activity {
    /// Requests whose responses are not complete.
    in_flight: Cell<u32>,
    /// When the awaited head began.
    head_since: Cell<Option<Instant>>,
}

impl Activity {
    /// Marks a request's head as complete: until the guard is dropped, further bytes are its body or can wait.
    pub fn begin(self: &Rc<Self>) -> InFlight {
        self.in_flight.set(self.in_flight.get() + 1);
        self.head_since.set(None);
        InFlight(self.clone())
    }

    fn is_idle(&self) -> bool {
        self.in_flight.get() == 0
    }
}

/// A request in flight.
#[derive(Debug)]
pub struct InFlight(Rc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get().saturating_sub(1));
    }
}

impl InFlight {
    /// Keeps the request in flight while `body` streams. A body of known size is handed to the kernel as fast as the
    /// kernel accepts it, and is returned unchanged.
    pub fn until_sent(self, body: BoxBody) -> BoxBody {
        match body.size() {
            BodySize::Stream => BoxBody::new(Streaming { body, _in_flight: self }),
            _ => body,
        }
    }
}

struct Streaming {
    body: BoxBody,
    _in_flight: InFlight,
}

impl MessageBody for Streaming {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

/// A timer that is set far less often than it is polled.
#[derive(Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    set: bool,
}

impl Timer {
    /// Sets it to `at`, unless it is set already.
    fn set(&mut self, at: Instant) {
        if self.set {
            return;
        }
        self.set = true;
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(at))),
        }
    }

    /// Becomes ready once, when the time has come; wakes the task then.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(sleep) = self.sleep.as_mut().filter(|_| self.set) else { return Poll::Pending };
        ready!(sleep.as_mut().poll(cx));
        self.set = false;
        Poll::Ready(())
    }
}

pub(super) struct Stream {
    connection: TcpStream,
    activity: Rc<Activity>,
    timeouts: Timeouts,
    /// Set when a head begins and left running when it ends: heads take microseconds, and setting a timer is expensive.
    head: Timer,
    write: Timer,
    /// The kernel accepts no more bytes, because the client does not read.
    is_blocked: bool,
    is_over: bool,
}

impl Stream {
    pub(super) fn new(connection: TcpStream, timeouts: Timeouts) -> Self {
        let activity = Rc::new(Activity::default());
        activity.head_since.set(Some(Instant::now()));
        let (head, write) = Default::default();
        Self { connection, activity, timeouts, head, write, is_blocked: false, is_over: false }
    }

    pub(super) fn activity(&self) -> Rc<Activity> {
        self.activity.clone()
    }

    /// Ready when the awaited head is late; otherwise the task is woken when it becomes late.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(since) = self.activity.head_since.get().filter(|_| self.activity.is_idle()) else {
                return Poll::Pending;
            };
            let at = since + self.timeouts.head;
            self.head.set(at);
            ready!(self.head.poll(cx));
            if self.is_blocked {
                // The next request may have arrived and waits until this response is read, which has its own limit.
                self.activity.head_since.set(Some(Instant::now()));
            } else if Instant::now() >= at {
                return Poll::Ready(());
            }
        }
    }

    fn timed_out(&mut self) -> io::Error {
        close_at_once(&self.connection);
        io::Error::new(io::ErrorKind::TimedOut, "the client does not read its answer")
    }

    /// Handles the result of a write: starts or clears the write timer, and fails the write when the timer expires.
    fn after_write(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.is_blocked = false;
            self.write.set = false;
            return written;
        }
        self.is_blocked = true;
        self.write.set(Instant::now() + self.timeouts.write);
        ready!(self.write.poll(cx));
        Poll::Ready(Err(self.timed_out()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_over {
            // As if the client had closed its side.
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        match Pin::new(&mut self.connection).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => {
                let activity = &self.activity;
                if buffer.filled().len() > before && activity.is_idle() && activity.head_since.get().is_none() {
                    activity.head_since.set(Some(Instant::now()));
                }
                Poll::Ready(Ok(()))
            }
            Poll::Pending => {
                ready!(self.poll_late(cx));
                metrics::connection_ended("head_timeout");
                self.is_over = true;
                // Nothing is blocked, so the socket buffer has room.
                let _ = self.connection.try_write(REQUEST_TIMEOUT);
                Poll::Ready(Ok(()))
            }
            failed => failed,
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.connection).poll_write(cx, bytes);
        self.after_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.connection).poll_write_vectored(cx, parts);
        self.after_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}
