//! What the flavour of tasks has to see to: ends of connections that are busy, byte streams of
//! any kind, several listeners.

#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use ttrpc_runtime::codec::Raw;
use ttrpc_runtime::{Call, Reply, Server, Service};

struct Large;

impl Service for Large {
    fn name(&self) -> &'static str {
        "test.Large"
    }

    fn call(&self, call: Call) -> Reply {
        call.unary(Raw, async |_, _: Bytes| Ok(vec![7; 1 << 20].into()))
    }
}

fn server() -> Server {
    Server::builder().service(Large).build().unwrap()
}

/// What must not hang.
async fn patiently<T>(work: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(Duration::from_secs(20), work).await;
    outcome.expect("it hangs")
}

/// A reply is under way that nobody takes.
#[tokio::test]
async fn a_shutdown_ends_a_connection_whose_peer_does_not_read() {
    let (mut here, there) = tokio::io::duplex(1 << 16);
    let server = server();
    let serves = server.clone();
    let serving = tokio::spawn(async move { serves.serve_connection(there).await });
    let request = b"\0\0\0\x0c\0\0\0\x01\x01\0\x0a\x0atest.Large";
    here.write_all(request).await.unwrap();
    // The first byte of the reply: it is being written.
    patiently(here.read_u8()).await.unwrap();
    patiently(server.shutdown(Duration::ZERO)).await;
    patiently(serving).await.unwrap().unwrap();
}

/// A peer that never stops sending what is ignored.
struct Chatter;

impl AsyncRead for Chatter {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        const UNKNOWN: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 1, 99, 0];
        while buffer.remaining() >= UNKNOWN.len() {
            buffer.put_slice(&UNKNOWN);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Chatter {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_shutdown_ends_a_connection_whose_peer_never_pauses() {
    let server = server();
    let serves = server.clone();
    let serving = tokio::spawn(async move { serves.serve_connection(Chatter).await });
    tokio::task::yield_now().await;
    patiently(server.shutdown(Duration::from_secs(60))).await;
    patiently(serving).await.unwrap().unwrap();
}
