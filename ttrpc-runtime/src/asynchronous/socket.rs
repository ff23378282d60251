//! A connected socket that wakes its task for no more than it has to.
//!
//! tokio's own socket asks the system for both edges, and on a Unix socket each read by
//! the peer raises a write edge: a wake-up for nothing after every message. This one asks
//! for what can be read, tries to write at once, and asks for what can be written only
//! once a write would block.
//!
//! It is for a task that polls reading and writing both, as a connection's does.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use crate::socket::{Stream, receive_for_task, register, send, would_block};

pub(crate) struct Socket<S: Stream = OwnedFd> {
    fd: Registered<S>,
    /// Whether a write has failed: then what has come is all that comes.
    is_broken: bool,
}

enum Registered<S: Stream> {
    /// For reading alone.
    Reading(AsyncFd<S>),
    /// A write has blocked before: for both.
    Both(AsyncFd<S>),
    /// Registering failed; nothing can be done with it any more.
    Lost,
}

impl<S: Stream> Socket<S> {
    pub(crate) fn new(stream: S) -> io::Result<Self> {
        let fd = register(stream, Interest::READABLE)?;
        Ok(Self {
            fd: Registered::Reading(fd),
            is_broken: false,
        })
    }

    fn fd(&self) -> io::Result<&AsyncFd<S>> {
        match &self.fd {
            Registered::Reading(fd) | Registered::Both(fd) => Ok(fd),
            Registered::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Asks for what can be written as well, from now on.
    fn register_for_writing(&mut self) -> io::Result<()> {
        self.fd = match std::mem::replace(&mut self.fd, Registered::Lost) {
            // Whoever waits for reading has to ask again, and the connection's task does.
            Registered::Reading(fd) => {
                let interest = Interest::READABLE | Interest::WRITABLE;
                Registered::Both(register(fd.into_inner(), interest)?)
            }
            other => other,
        };
        Ok(())
    }
}

impl<S: Stream> AsyncRead for Socket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_broken {
            // Whether something is there the system knows before the runtime does.
            let received = receive_for_task(self.fd()?.get_ref(), buffer);
            if would_block(&received) {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            return Poll::Ready(received.map(drop));
        }
        loop {
            let mut ready = ready!(self.fd()?.poll_read_ready(cx))?;
            let asked = buffer.remaining();
            let received = receive_for_task(ready.get_inner(), buffer);
            if would_block(&received) {
                ready.clear_ready();
                continue;
            }
            let len = received?;
            if 0 < len && len < asked {
                // That was all; what comes now raises another edge.
                ready.clear_ready();
            }
            return Poll::Ready(Ok(()));
        }
    }
}

impl<S: Stream> AsyncWrite for Socket<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let sent = match &self.fd {
                Registered::Both(fd) => {
                    let mut ready = ready!(fd.poll_write_ready(cx))?;
                    let sent = send(ready.get_inner(), slices);
                    if would_block(&sent) {
                        ready.clear_ready();
                        continue;
                    }
                    sent
                }
                _ => send(self.fd()?.get_ref(), slices),
            };
            if would_block(&sent) {
                self.register_for_writing()?;
                continue;
            }
            self.is_broken = sent.is_err();
            return Poll::Ready(sent);
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// It is dropped next, which tells the peer as well.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
