//! What goes wrong beneath a connection: interrupted calls, short and impossible writes,
//! peers that vanish, descriptors that run out.

#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use ttrpc_runtime::codec::Raw;
use ttrpc_runtime::{
    Call, Client, Context, Error, Limits, Listener, Reply, Result, Server, Service, Streaming,
};

/// Answers with what it is sent, and `Never` never.
struct Echo;

impl Service for Echo {
    fn name(&self) -> &'static str {
        "test.Echo"
    }

    fn call(&self, call: Call) -> Reply {
        match call.method() {
            "Echo" => call.unary(Raw, async |_, request: Bytes| Ok(request)),
            "Never" => call.unary(Raw, async |_, _: Bytes| -> Result<Bytes> {
                std::future::pending().await
            }),
            _ => call.unimplemented(),
        }
    }
}

fn server() -> Server {
    Server::builder().service(Echo).build().unwrap()
}

async fn call(client: &Client, method: &str, request: Bytes) -> Result<Bytes> {
    let ctx = Context::new().with_timeout(Duration::from_secs(20));
    client.unary(Raw, &ctx, "test.Echo", method, request).await
}

fn socket(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("ttrpc-faults-{name}-{}.sock", std::process::id()))
}

/// A pipe that moves a few bytes at a time, blocks and is interrupted at every turn.
struct Crooked {
    pipe: DuplexStream,
    reads: usize,
    writes: usize,
}

impl Crooked {
    fn new(pipe: DuplexStream) -> Self {
        Self {
            pipe,
            reads: 0,
            writes: 0,
        }
    }

    /// What goes wrong this time.
    fn fault<T>(turn: &mut usize, cx: &TaskContext<'_>) -> Option<Poll<io::Result<T>>> {
        *turn += 1;
        match *turn % 3 {
            0 => Some(Poll::Ready(Err(io::ErrorKind::Interrupted.into()))),
            1 => {
                cx.waker().wake_by_ref();
                Some(Poll::Pending)
            }
            _ => None,
        }
    }
}

impl AsyncRead for Crooked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(fault) = Self::fault(&mut self.reads, cx) {
            return fault;
        }
        let few = 1 + self.reads % 700;
        let mut bytes = vec![0; few.min(buffer.remaining())];
        let mut part = ReadBuf::new(&mut bytes);
        let read = Pin::new(&mut self.pipe).poll_read(cx, &mut part);
        buffer.put_slice(part.filled());
        read
    }
}

impl AsyncWrite for Crooked {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(fault) = Self::fault(&mut self.writes, cx) {
            return fault;
        }
        let few = bytes.len().min(1 + self.writes % 900);
        Pin::new(&mut self.pipe).poll_write(cx, &bytes[..few])
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn interrupted_blocked_and_short_reads_and_writes_are_resumed() {
    let (near, far) = tokio::io::duplex(1000);
    let server = server();
    tokio::spawn(async move { server.serve_connection(Crooked::new(far)).await });
    let client = Client::new(Crooked::new(near));
    for len in [0, 1, 9, 10, 1000, 20_000, 100_000] {
        let sent = Bytes::from((0..len).map(|n| n as u8).collect::<Vec<_>>());
        assert_eq!(call(&client, "Echo", sent.clone()).await.unwrap(), sent);
    }
}

/// A pipe that takes nothing more.
struct Full(DuplexStream);

impl AsyncRead for Full {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Full {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
        _: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(0))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_write_that_returns_0_ends_the_connection() {
    let (near, _far) = tokio::io::duplex(1000);
    let client = Client::new(Full(near));
    let error = call(&client, "Echo", Bytes::new()).await.unwrap_err();
    assert!(error.is_closed(), "{error}");
}

/// In a process of its own: it makes SIGPIPE deadly, and lets descriptors run out.
#[test]
fn a_process_survives_vanished_peers_and_a_want_of_descriptors() {
    const CHILD: &str = "TTRPC_FAULTS_CHILD";
    if std::env::var_os(CHILD).is_none() {
        let output = std::process::Command::new("sh")
            .args(["-c", "ulimit -n 40; exec \"$0\" --exact \"$1\" --nocapture"])
            .arg(std::env::current_exe().unwrap())
            .arg("a_process_survives_vanished_peers_and_a_want_of_descriptors")
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        return;
    }
    // SAFETY: nothing in this process relies on the signal.
    #[allow(unsafe_code)]
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            vanished_peers().await;
            no_descriptors().await;
        });
}

/// Writing to a peer that is gone is an error, not a signal; and nothing stays behind.
async fn vanished_peers() {
    let path = socket("vanished");
    let listener = Listener::bind(&path).unwrap();
    let server = server();
    let serving = server.clone();
    tokio::spawn(async move { serving.serve(listener).await });
    let base = descriptors();
    for _ in 0..100 {
        let client = Client::connect(&path).await.unwrap();
        call(&client, "Echo", Bytes::new()).await.unwrap();
        let never = tokio::spawn(async move { call(&client, "Never", Bytes::new()).await });
        // A peer that sends a request and is gone before it is answered.
        let raw = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let frame = b"\0\0\0\x11\0\0\0\x01\x01\0\x0a\x09test.Echo\x12\x04Echo";
        io::Write::write_all(&mut &raw, frame).unwrap();
        drop(raw);
        never.abort();
        assert!(never.await.unwrap_err().is_cancelled());
    }
    for _ in 0..200 {
        if descriptors() == base {
            server.close();
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} descriptors, and {base} before", descriptors());
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The server takes connections again once it can, and has complained once.
async fn no_descriptors() {
    let path = socket("descriptors");
    let listener = Listener::bind(&path).unwrap();
    let complaints = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&complaints);
    let server = Server::builder()
        .service(Echo)
        .on_accept_error(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        })
        .build()
        .unwrap();
    tokio::spawn(async move { server.serve(listener).await });

    let mut files = Vec::new();
    let waiting = std::os::unix::net::UnixStream::connect(&path).unwrap();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        files.push(file);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(complaints.load(Ordering::Relaxed), 1);
    files.clear();
    drop(waiting);
    let client = Client::connect(&path).await.unwrap();
    assert_eq!(call(&client, "Echo", Bytes::new()).await.unwrap(), "");
    assert_eq!(complaints.load(Ordering::Relaxed), 1);
    let _: Error = call(&client, "None", Bytes::new()).await.unwrap_err();
}

/// A frame has its time however little of it comes: a part of its header, or of its body.
#[tokio::test]
async fn a_frame_that_does_not_end_in_time_closes_the_connection() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let mut large = vec![0, 0x10, 0, 0, 0, 0, 0, 1, 1, 0];
    large.resize(8192, 0);
    for begun in [&large[..5], &large[..]] {
        let mut limits = ttrpc_runtime::Limits::default();
        limits.frame_timeout = Some(Duration::from_millis(20));
        let server = Server::builder()
            .service(Echo)
            .limits(limits)
            .build()
            .unwrap();
        let (mut here, there) = tokio::io::duplex(1 << 16);
        let serving = tokio::spawn(async move { server.serve_connection(there).await });
        here.write_all(begun).await.unwrap();
        let mut rest = Vec::new();
        let closed = here.read_to_end(&mut rest);
        let closed = tokio::time::timeout(Duration::from_secs(20), closed).await;
        closed.expect("it waits for ever").unwrap();
        assert!(serving.await.unwrap().unwrap_err().is_protocol());
    }
}

/// Where a call is alone it writes itself; what the socket does not take comes before what
/// others queue meanwhile.
#[tokio::test]
async fn a_request_that_its_socket_takes_in_parts_arrives_whole() {
    let path = socket("parts");
    let listener = Listener::bind(&path).unwrap();
    tokio::spawn(async move { server().serve(listener).await });
    let client = Client::connect(&path).await.unwrap();
    // With a deadline the task has to run anyway, to wait for that.
    let call = async |request: &Bytes| {
        let ctx = Context::new();
        let reply = client.unary(Raw, &ctx, "test.Echo", "Echo", request.clone());
        let reply: Result<Bytes> = tokio::time::timeout(Duration::from_secs(20), reply)
            .await
            .expect("it waits for ever");
        reply.unwrap()
    };
    let second = Bytes::from_static(b"second");
    for len in [0, 1000, 1 << 20, 3 << 20] {
        let large = Bytes::from((0..len).map(|i| (i % 251) as u8).collect::<Vec<_>>());
        assert!(call(&large).await == large);
        let replies = tokio::join!(call(&large), call(&second));
        assert!(replies.0 == large);
        assert_eq!(replies.1, second);
    }
}

/// Reads a stream as soon as it is told of something, whoever tells it.
struct Eager {
    replies: Mutex<Streaming<Bytes>>,
    count: AtomicUsize,
}

impl Wake for Eager {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        let mut cx = TaskContext::from_waker(&waker);
        let mut replies = self.replies.lock().unwrap();
        while let Poll::Ready(Some(reply)) = Pin::new(&mut *replies).poll_next(&mut cx) {
            self.count
                .fetch_add(reply.unwrap().len(), Ordering::Relaxed);
        }
    }
}

/// Just when the connection has found that it may not read, somebody makes room in an inbox.
#[tokio::test]
async fn a_reader_that_catches_up_in_between_gets_the_rest() {
    const MESSAGES: usize = 100;
    const LEN: usize = 1000;

    let (io, mut peer) = tokio::io::duplex(2 * MESSAGES * LEN);
    let mut limits = Limits::default();
    limits.inbox_bytes = 10 * LEN;
    let client = Client::builder().limits(limits).over(io);
    let replies = client
        .server_streaming(Raw, &Context::new(), "test.Echo", "Many", Bytes::new())
        .await
        .unwrap();
    let eager = Arc::new(Eager {
        replies: Mutex::new(replies),
        count: AtomicUsize::new(0),
    });
    Arc::clone(&eager).wake();
    let frame = [&[0, 0, 3, 232, 0, 0, 0, 1, 3, 0][..], &[7; LEN]].concat();
    peer.write_all(&frame.repeat(MESSAGES)).await.unwrap();
    let all = async {
        while eager.count.load(Ordering::Relaxed) < MESSAGES * LEN {
            tokio::task::yield_now().await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(10), all).await;
    assert!(
        done.is_ok(),
        "{} bytes have come",
        eager.count.load(Ordering::Relaxed)
    );
}

/// What came before what is no frame reaches whoever waits for it, as does the end.
#[tokio::test]
async fn a_message_right_before_garbage_is_received() {
    use tokio::io::AsyncWriteExt;

    const MESSAGE: &[u8] = &[0, 0, 0, 2, 0, 0, 0, 1, 3, 0, b'h', b'i'];
    const GARBAGE: &[u8] = &[0xff; 10];
    let (io, mut peer) = tokio::io::duplex(1000);
    let client = Client::new(io);
    let ctx = Context::new();
    let replies = client.server_streaming(Raw, &ctx, "a.B", "C", Bytes::new());
    let mut replies: Streaming<Bytes> = replies.await.unwrap();
    let reader = tokio::spawn(async move { (replies.message().await, replies.message().await) });
    // It waits by then.
    tokio::task::yield_now().await;
    peer.write_all(&[MESSAGE, GARBAGE].concat()).await.unwrap();
    let received = tokio::time::timeout(Duration::from_secs(20), reader).await;
    let (message, end) = received.expect("it waits for ever").unwrap();
    assert_eq!(message.unwrap().unwrap(), "hi");
    assert!(end.unwrap_err().is_protocol());
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whoever took a message waits for the next one already. What tells of that may be used up by
/// the time it is asked for, and another one may ask then.
#[tokio::test]
async fn a_reader_that_was_told_while_it_did_something_else_finds_what_has_come() {
    use tokio::io::AsyncWriteExt;

    const MESSAGE: &[u8] = &[0, 0, 0, 1, 0, 0, 0, 1, 3, 0, b'x'];
    let (io, mut peer) = tokio::io::duplex(1000);
    let client = Client::new(io);
    let ctx = Context::new();
    let replies = client.server_streaming(Raw, &ctx, "a.B", "C", Bytes::new());
    let mut replies: Streaming<Bytes> = replies.await.unwrap();
    let counts = [(); 2].map(|()| Arc::<Count>::default());
    let wakers = [0, 1].map(|n| Waker::from(Arc::clone(&counts[n])));
    let woken = |n: usize| counts[n].0.swap(0, Ordering::Relaxed);
    let mut poll = |n: usize| {
        let mut cx = TaskContext::from_waker(&wakers[n]);
        let message = Pin::new(&mut replies).poll_next(&mut cx);
        message.map(|message| message.unwrap().unwrap())
    };
    let come = Poll::Ready(Bytes::from_static(b"x"));
    let mut send = async || {
        peer.write_all(MESSAGE).await.unwrap();
        // The connection's task has run by then.
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    send().await;
    assert_eq!(poll(0), come);
    assert_eq!(poll(0), Poll::Pending);
    send().await;
    assert_eq!(woken(0), 1);
    assert_eq!(poll(0), come);
    // It is told at once of the next one, does not ask, and asks later.
    send().await;
    assert_eq!(woken(0), 1);
    assert_eq!(poll(0), come);
    // Another one asks, and is the one that is told.
    assert_eq!(poll(1), Poll::Pending);
    send().await;
    assert_eq!((woken(0), woken(1)), (0, 1));
    assert_eq!(poll(0), come);
    assert_eq!(poll(0), Poll::Pending);
    // It is told of the end, too.
    drop(peer);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(woken(0), 1);
}

/// A server that answers and goes away has answered, also where the client finds that out as it
/// writes the next request.
#[tokio::test]
async fn a_reply_counts_though_the_server_has_gone_by_the_next_request() {
    use std::io::Write;

    const REPLY: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 1, 2, 0, 0x12, 2, b'h', b'i'];
    let path = socket("gone");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let client = Client::connect(&path).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    let other = client.clone();
    let first = tokio::spawn(async move { call(&other, "Never", Bytes::new()).await });
    // It waits by then.
    tokio::time::sleep(Duration::from_millis(10)).await;
    peer.write_all(REPLY).unwrap();
    drop(peer);
    let second = call(&client, "Echo", Bytes::new()).await;
    assert_eq!(first.await.unwrap().unwrap(), "hi");
    second.unwrap_err();
}
