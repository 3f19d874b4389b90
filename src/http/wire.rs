//! The bytes of a connection on their way: counted, and a half-closed one kept for its answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::connection::Connection;

/// The connection preface of HTTP/2 (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The time for which a request goes on when its caller has closed its side: it may have hung up, or have no
/// more to say and wait for the answer. The two look alike.
const HALF_CLOSED: Duration = Duration::from_secs(2);

/// A connection's stream.
#[derive(Debug)]
pub struct Wire<S> {
    stream: S,
    connection: Arc<Connection>,
    /// The bytes of the preface that have come; `None` once it is clear whether this is one.
    preface: Option<usize>,
    /// Set when the caller has closed its side while a request was under way.
    half_closed: Option<Pin<Box<Sleep>>>,
}

impl<S> Wire<S> {
    /// Watches a stream.
    pub const fn new(stream: S, connection: Arc<Connection>) -> Self {
        Self { stream, connection, preface: Some(0), half_closed: None }
    }

    fn look_for_preface(&mut self, read: &[u8]) {
        let Some(begun) = self.preface else { return };
        let expected = PREFACE.iter().skip(begun);
        if read.iter().zip(expected).any(|(read, expected)| read != expected) {
            self.preface = None;
        } else if begun + read.len() >= PREFACE.len() {
            self.preface = None;
            self.connection.spoke();
        } else {
            self.preface = Some(begun + read.len());
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.half_closed.is_none() {
            let before = buf.filled().len();
            let has_room = buf.remaining() > 0;
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            let read = &buf.filled()[before..];
            if !(read.is_empty() && has_room) {
                self.look_for_preface(read);
                return Poll::Ready(Ok(()));
            }
            self.half_closed = Some(Box::pin(sleep(HALF_CLOSED)));
        }
        // A body that broke off does not come any more, whatever its caller waits for.
        let is_idle = self.connection.is_idle() || self.connection.is_receiving();
        match &mut self.half_closed {
            Some(wait) if !is_idle => wait.as_mut().poll(cx).map(Ok),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.connection.wrote(bytes);
        }
        written
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};
    use tokio::time::Instant;

    use super::*;
    use crate::http::places::Places;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_breaks_off_is_not_waited_for_and_an_answer_is() {
        for (is_receiving, expected) in [(true, Duration::ZERO), (false, HALF_CLOSED)] {
            let connection = Arc::new(Connection::new(Places::new(1), 1));
            let _under_way = connection.request();
            let _receiving = is_receiving.then(|| connection.receive());
            let (caller, stream) = duplex(64);
            drop(caller);
            let began = Instant::now();
            let mut rest = Vec::new();
            Wire::new(stream, Arc::clone(&connection)).read_to_end(&mut rest).await.unwrap();
            // To the millisecond of the clock's wheel.
            assert_eq!(began.elapsed().as_secs(), expected.as_secs());
        }
    }
}
