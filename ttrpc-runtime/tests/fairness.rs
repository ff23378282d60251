//! Whoever takes much leaves enough to others: streams of one connection, and connections of
//! one server. The same for both flavours.

#![cfg(all(feature = "tokio", feature = "blocking"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "blocking/peer.rs"]
#[allow(dead_code)]
mod peer;

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use ttrpc_runtime::codec::Raw;
use ttrpc_runtime::{Listener, Result, blocking};

use self::peer::Peer;

const SERVICE: &str = "test.Fair";
const LARGE: usize = (4 << 20) - 1024;

/// A message that alone fills the output of a connection.
const PIECE: usize = 256 << 10;

/// Flags of a request for a stream of replies.
const NO_MORE_REQUESTS: u8 = 1;

/// The type of a frame with a message.
const DATA: u8 = 3;

fn large(count: usize) -> impl Iterator<Item = Bytes> + Send + 'static {
    let reply = Bytes::from(vec![7; LARGE]);
    (0..count).map(move |_| reply.clone())
}

fn pieces(count: usize) -> impl Iterator<Item = Bytes> + Send + 'static {
    let piece = Bytes::from(vec![7; PIECE]);
    (0..count).map(move |_| piece.clone())
}

struct OfTasks;

impl ttrpc_runtime::Service for OfTasks {
    fn name(&self) -> &'static str {
        SERVICE
    }

    fn call(&self, call: ttrpc_runtime::Call) -> ttrpc_runtime::Reply {
        use ttrpc_runtime::Streaming;
        match call.method() {
            "Small" => call.unary(Raw, async |_, request: Bytes| Ok(request)),
            "Large" => call.unary(Raw, async |_, _: Bytes| Ok(large(1).next().unwrap())),
            "Larges" => call.server_streaming(Raw, async |_, request: Bytes| -> Result<_> {
                Ok(Streaming::from_iter(large(request.len())))
            }),
            "Pieces" => call.server_streaming(Raw, async |_, request: Bytes| -> Result<_> {
                Ok(Streaming::from_iter(pieces(request.len())))
            }),
            _ => call.unimplemented(),
        }
    }
}

struct OfThreads;

impl blocking::Service for OfThreads {
    fn name(&self) -> &'static str {
        SERVICE
    }

    fn call(&self, call: blocking::Call) -> blocking::Reply {
        use blocking::Streaming;
        match call.method() {
            "Small" => call.unary(Raw, |_, request: Bytes| Ok(request)),
            "Large" => call.unary(Raw, |_, _: Bytes| Ok(large(1).next().unwrap())),
            "Larges" => call.server_streaming(Raw, |_, request: Bytes| -> Result<_> {
                Ok(Streaming::from_iter(large(request.len())))
            }),
            "Pieces" => call.server_streaming(Raw, |_, request: Bytes| -> Result<_> {
                Ok(Streaming::from_iter(pieces(request.len())))
            }),
            _ => call.unimplemented(),
        }
    }
}

/// Runs a test against a server of each flavour, as whoever connects to it.
fn with_each(name: &str, test: impl Fn(&dyn Fn() -> Peer)) {
    let address = |flavour| {
        let file = format!("ttrpc-{name}-{flavour}-{}.sock", std::process::id());
        format!("unix://{}", std::env::temp_dir().join(file).display())
    };
    let run = |address: &str| {
        let path = address.strip_prefix("unix://").unwrap();
        test(&|| {
            let socket = UnixStream::connect(path).unwrap();
            let patience = Some(Duration::from_secs(30));
            socket.set_read_timeout(patience).unwrap();
            Peer(socket)
        });
    };

    let tasks = address("tasks");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let listener = Listener::bind(tasks.as_str()).unwrap();
    let server = ttrpc_runtime::Server::builder()
        .service(OfTasks)
        .build()
        .unwrap();
    let serving = server.clone();
    let thread = thread::spawn(move || runtime.block_on(serving.serve(listener)));
    run(&tasks);
    server.close();
    thread.join().unwrap().unwrap();

    let threads = address("threads");
    let listener = Listener::bind(threads.as_str()).unwrap();
    let server = blocking::Server::builder()
        .service(OfThreads)
        .build()
        .unwrap();
    let serving = server.clone();
    let thread = thread::spawn(move || serving.serve(listener));
    run(&threads);
    server.close();
    thread.join().unwrap().unwrap();
}

/// How many frames of the stream come before the answer to another call.
fn frames_before(peer: &mut Peer, id: u32) -> usize {
    let mut before = 0;
    while let Some((of, ..)) = peer.next() {
        if of == id {
            return before;
        }
        before += 1;
    }
    panic!("the answer never came");
}

#[test]
fn a_small_reply_waits_for_the_large_frame_under_way_and_the_one_behind_it_at_most() {
    with_each("stream", |connect| {
        let mut peer = connect();
        peer.request(1, NO_MORE_REQUESTS, SERVICE, "Larges", &[0; 20], 0);
        // The first frame is under way, and the server can't get on.
        assert_eq!(
            peer.next().map(|(id, kind, ..)| (id, kind)),
            Some((1, DATA))
        );
        peer.request(3, 0, SERVICE, "Small", b"small", 0);
        // On a busy machine the thread that reads it may not run at once.
        thread::sleep(Duration::from_millis(200));
        let before = frames_before(&mut peer, 3);
        assert!(before <= 3, "{before} large frames before a small one");
    });
}

#[test]
fn a_small_reply_waits_for_the_one_large_reply_before_it() {
    with_each("reply", |connect| {
        let mut peer = connect();
        peer.request(1, 0, SERVICE, "Large", b"", 0);
        peer.request(3, 0, SERVICE, "Small", b"small", 0);
        peer.request(5, 0, SERVICE, "Large", b"", 0);
        let before = frames_before(&mut peer, 3);
        assert!(before <= 1, "{before} large frames before a small one");
    });
}

#[test]
fn streams_of_one_connection_have_their_turn() {
    with_each("turn", |connect| {
        let mut peer = connect();
        let ids = [1, 3, 5, 7];
        for id in ids {
            peer.request(id, NO_MORE_REQUESTS, SERVICE, "Pieces", &[0; 10_000], 0);
        }
        let mut frames = [0; 4];
        let mut count = |peer: &mut Peer| {
            let (id, kind, ..) = peer.next().unwrap();
            assert_eq!(kind, DATA);
            frames[id as usize / 2] += 1;
            frames
        };
        // Before that, those that were there first may have sent anything.
        while !count(&mut peer).iter().all(|frames| *frames > 0) {}
        let before = count(&mut peer);
        for _ in 0..200 {
            count(&mut peer);
        }
        let frames: Vec<_> = frames.iter().zip(before).map(|(all, b)| all - b).collect();
        // A fifth of its share has one whose thread reads and writes for all, too.
        assert!(frames.iter().all(|count| *count >= 10), "{frames:?}");
    });
}

#[test]
fn a_connection_that_never_pauses_leaves_others_their_turn() {
    with_each("flood", |connect| {
        let mut flood = connect();
        let mut drain = Peer(flood.0.try_clone().unwrap());
        let enough = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for id in (1..).step_by(2) {
                    if enough.load(Ordering::Relaxed) {
                        return flood.0.shutdown(std::net::Shutdown::Write).unwrap();
                    }
                    flood.request(id, 0, SERVICE, "Small", &[0; 2048], 0);
                }
            });
            scope.spawn(|| while drain.next().is_some() {});
            let mut other = connect();
            for id in (1..200).step_by(2) {
                other.request(id, 0, SERVICE, "Small", b"small", 0);
                assert_eq!(other.response(), Some((id, 0)));
            }
            enough.store(true, Ordering::Relaxed);
        });
    });
}

#[tokio::test]
async fn those_that_give_up_waiting_hold_nobody_up() {
    use tokio::io::AsyncReadExt;
    use ttrpc_runtime::{Client, Context, Streaming};

    let (io, mut peer) = tokio::io::duplex(2 * PIECE);
    let client = Client::new(io);
    let mut open = Vec::new();
    for _ in 0..5 {
        let (sender, requests) = Streaming::channel(1);
        let ctx = Context::new();
        let replies: Streaming<Bytes> = client
            .bidi_streaming(Raw, &ctx, SERVICE, "Any", requests)
            .await
            .unwrap();
        open.push((sender, replies));
    }
    let piece = Bytes::from(vec![7; PIECE]);
    let waits = async |sender: &ttrpc_runtime::Sender<Bytes>| {
        let send = sender.send(piece.clone());
        let sent = tokio::time::timeout(Duration::from_millis(20), send).await;
        sent.is_err()
    };
    while !waits(&open[0].0).await {}
    for (sender, _) in &open[..4] {
        assert!(waits(sender).await);
    }
    // What the client has is then written in one go, which is when some are woken.
    let mut all = vec![0; 4 * PIECE];
    let drain = async { while peer.read(&mut all).await.is_ok_and(|len| len > 0) {} };
    let send = open[4].0.send(piece.clone());
    tokio::select! {
        sent = tokio::time::timeout(Duration::from_secs(20), send) => {
            sent.expect("it was never its turn").unwrap();
        }
        _ = drain => panic!("the client has gone"),
    }
}
