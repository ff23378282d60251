//! How a connection's task reads and writes.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use crate::connection::{MAX_SLICES, end_of_input};
use crate::error::{Error, Result};
use crate::proto::{Body, Output};

/// Writes until nothing is left or the socket takes no more; ready when nothing is, also of what
/// a stream with a buffer of its own keeps back.
pub(super) fn poll_write<T: AsyncWrite + Unpin>(
    io: &mut T,
    output: &mut Output,
    cx: &mut Context<'_>,
) -> Poll<Result<()>> {
    while !output.is_empty() {
        ready!(poll_write_some(io, output, cx))?;
    }
    uninterrupted(|| Pin::new(&mut *io).poll_flush(cx)).map_err(Error::connection_lost)
}

/// Reads what is missing of a large frame.
pub(super) fn poll_read_body<T: AsyncRead + Unpin>(
    io: &mut T,
    body: &mut Body,
    cx: &mut Context<'_>,
) -> Poll<Result<usize>> {
    let mut len = 0;
    loop {
        let (buffer, missing) = body.buffer();
        let mut buffer = buffer.limit(missing);
        let read = uninterrupted(|| pin!(io.read_buf(&mut buffer)).poll(cx));
        match ready!(read).map_err(Error::connection_lost)? {
            0 => return Poll::Ready(Err(end_of_input(Some(body)))),
            read => len += read,
        }
        if !body.goes_on() {
            return Poll::Ready(Ok(len));
        }
    }
}

/// Does it again if a signal came in between.
pub(super) fn uninterrupted<T>(
    mut attempt: impl FnMut() -> Poll<io::Result<T>>,
) -> Poll<io::Result<T>> {
    loop {
        match attempt() {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// Writes some of the output.
fn poll_write_some<T: AsyncWrite + Unpin>(
    io: &mut T,
    output: &mut Output,
    cx: &mut Context<'_>,
) -> Poll<Result<()>> {
    let written = if let Some(one) = output.as_slice() {
        uninterrupted(|| Pin::new(&mut *io).poll_write(cx, one))
    } else {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let used = output.slices(&mut slices);
        uninterrupted(|| Pin::new(&mut *io).poll_write_vectored(cx, &slices[..used]))
    };
    match ready!(written).map_err(Error::connection_lost)? {
        0 => Poll::Ready(Err(Error::connection_lost(io::ErrorKind::WriteZero.into()))),
        len => {
            output.advance(len);
            Poll::Ready(Ok(()))
        }
    }
}
