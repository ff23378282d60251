//! What the flavour of tasks has to see to: ends of connections that are busy, byte streams of
//! any kind, several listeners.

#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::{Arc, Barrier};
use std::task::{Context as TaskContext, Poll, Waker, ready};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream, DuplexStream, ReadBuf,
};
use tokio::sync::oneshot;
use ttrpc_runtime::codec::Raw;
use ttrpc_runtime::{Call, Client, Context, Listener, Reply, Result, Server, Service};

/// Answers with so many bytes.
struct Bulk(usize);

impl Service for Bulk {
    fn name(&self) -> &'static str {
        "test.Bulk"
    }

    fn call(&self, call: Call) -> Reply {
        let len = self.0;
        call.unary(Raw, async move |_, _: Bytes| Ok(vec![7; len].into()))
    }
}

/// The request of a call.
const REQUEST: &[u8] = b"\0\0\0\x0b\0\0\0\x01\x01\0\x0a\x09test.Bulk";

fn server(len: usize) -> Server {
    Server::builder().service(Bulk(len)).build().unwrap()
}

async fn call(client: &Client, ctx: &Context) -> Result<Bytes> {
    let request = Bytes::from(vec![1; 1000]);
    client.unary(Raw, ctx, "test.Bulk", "Any", request).await
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
    let server = server(1 << 20);
    let serves = server.clone();
    let serving = tokio::spawn(async move { serves.serve_connection(there).await });
    here.write_all(REQUEST).await.unwrap();
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
    let server = server(0);
    let serves = server.clone();
    let serving = tokio::spawn(async move { serves.serve_connection(Chatter).await });
    tokio::task::yield_now().await;
    patiently(server.shutdown(Duration::from_secs(60))).await;
    patiently(serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn streams_with_buffers_of_their_own_pass_on_what_was_written() {
    let (here, there) = tokio::io::duplex(64);
    let server = server(1000);
    tokio::spawn(async move { server.serve_connection(BufStream::new(there)).await });
    let client = Client::new(BufStream::new(here));
    for _ in 0..3 {
        let reply = patiently(call(&client, &Context::new())).await.unwrap();
        assert_eq!(reply.len(), 1000);
    }
}

#[tokio::test]
async fn a_shutdown_waits_until_a_stream_has_passed_on_its_buffer() {
    let (mut here, there) = tokio::io::duplex(64);
    let server = server(1000);
    let serves = server.clone();
    let io = BufStream::new(there);
    let serving = tokio::spawn(async move { serves.serve_connection(io).await });
    here.write_all(REQUEST).await.unwrap();
    patiently(here.read_u8()).await.unwrap();
    let shutdown = tokio::spawn(async move { server.shutdown(Duration::from_secs(60)).await });
    let mut reply = Vec::new();
    patiently(here.read_to_end(&mut reply)).await.unwrap();
    assert!(reply.len() > 1000, "{}", reply.len());
    patiently(shutdown).await.unwrap();
    patiently(serving).await.unwrap().unwrap();
}

/// A stream that tells how it was ended: with what had been written before.
struct Orderly {
    io: DuplexStream,
    written: usize,
    flushed: usize,
    told: Option<oneshot::Sender<(usize, usize)>>,
}

impl Orderly {
    fn new(io: DuplexStream) -> (Self, oneshot::Receiver<(usize, usize)>) {
        let (tell, told) = oneshot::channel();
        let orderly = Self {
            io,
            written: 0,
            flushed: 0,
            told: Some(tell),
        };
        (orderly, told)
    }
}

impl AsyncRead for Orderly {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Orderly {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        self.written += written;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        self.flushed = self.written;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Has something to say that nobody takes.
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        let flushed = (self.written, self.flushed);
        self.told.take().unwrap().send(flushed).unwrap();
        Poll::Pending
    }
}

/// As TLS does, which else takes the end for an attack. What nobody reads is not waited for.
#[tokio::test]
async fn streams_are_shut_down_in_order() {
    for closes in [true, false] {
        let (here, there) = tokio::io::duplex(1000);
        let (here, client_end) = Orderly::new(here);
        let (there, server_end) = Orderly::new(there);
        let server = server(1000);
        let serves = server.clone();
        let serving = tokio::spawn(async move { serves.serve_connection(there).await });
        let client = Client::new(here);
        patiently(call(&client, &Context::new())).await.unwrap();
        if closes {
            drop(client);
        } else {
            patiently(server.shutdown(Duration::MAX)).await;
        }
        for end in [client_end, server_end] {
            let (written, flushed) = patiently(end).await.unwrap();
            assert!(written > 1000);
            assert_eq!(flushed, written);
        }
        patiently(serving).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn several_listeners_have_no_more_connections_together_than_allowed() {
    let server = Server::builder().service(Bulk(1)).max_connections(1);
    let server = server.build().unwrap();
    let addresses = [1, 2].map(|n| format!("unix://@ttrpc-tasks-{n}-{}", std::process::id()));
    for address in &addresses {
        let (serves, listener) = (server.clone(), Listener::bind(address).unwrap());
        tokio::spawn(async move { serves.serve(listener).await });
    }
    // Both wait for a connection by now.
    tokio::task::yield_now().await;
    let [first, second] = &addresses;
    let first = Client::connect(first).await.unwrap();
    patiently(call(&first, &Context::new())).await.unwrap();
    let second = Client::connect(second).await.unwrap();
    let waits = Context::new().with_timeout(Duration::from_millis(100));
    assert!(call(&second, &waits).await.unwrap_err().is_timeout());
    drop(first);
    patiently(call(&second, &Context::new())).await.unwrap();
}

/// What clients are left to wait takes the system a while to close.
#[tokio::test]
async fn a_listener_that_goes_leaves_the_next_one_its_file() {
    let path = std::env::temp_dir().join(format!("ttrpc-tasks-{}.sock", std::process::id()));
    let connect = |_| drop(UnixStream::connect(&path).unwrap());
    let server = server(0);
    for round in 0..50 {
        let listener = Listener::bind(&path).unwrap();
        let (begin, address) = (Arc::new(Barrier::new(2)), path.clone());
        let begins = Arc::clone(&begin);
        let next = thread::spawn(move || {
            begins.wait();
            std::iter::repeat_with(|| Listener::bind(&address)).find_map(Result::ok)
        });
        if round % 2 == 0 {
            (0..100).for_each(connect);
            begin.wait();
            drop(listener);
        } else {
            let mut serving = Box::pin(server.serve(listener));
            let mut cx = TaskContext::from_waker(Waker::noop());
            assert!(serving.as_mut().poll(&mut cx).is_pending());
            (0..100).for_each(connect);
            begin.wait();
            drop(serving);
        }
        let next = next.join().unwrap();
        assert!(path.exists());
        drop(next);
    }
}

/// Not when a client first has a deadline.
#[test]
#[should_panic(expected = "timers are disabled")]
fn a_server_in_a_runtime_without_timers_says_so_at_once() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_io().build().unwrap();
    let (_here, there) = tokio::io::duplex(64);
    runtime.block_on(server(1).serve_connection(there)).unwrap();
}
