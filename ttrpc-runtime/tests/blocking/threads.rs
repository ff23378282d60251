//! A server's threads: how many there are, and what goes on when there are no more.

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use ttrpc_runtime::blocking::{Call, Client, Method, Server, ServerBuilder, Streaming};
use ttrpc_runtime::codec::Raw;
use ttrpc_runtime::{Code, Context, Result};

use crate::ends::serve;
use crate::peer::Peer;
use crate::support::{
    Calls, Custom, Echo, Pair, alone, alone_with, bytes, number, patiently, threads, until, within,
};

/// What holds handlers until it is opened.
#[derive(Default)]
struct Gate {
    /// How many wait, and whether it is open.
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Gate {
    fn wait(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |state| !state.1).unwrap();
        state.0 -= 1;
    }

    fn open(&self) {
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }

    /// Waits until so many wait.
    fn hold(&self, count: usize) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| state.0 < count));
    }
}

/// A server whose `Hold` waits at the gate.
fn gated(builder: ServerBuilder) -> (ServerBuilder, Arc<Gate>) {
    let gate = Arc::<Gate>::default();
    let waits = Arc::clone(&gate);
    let answer = move |call: Call| {
        let gate = Arc::clone(&waits);
        call.unary(Raw, move |_, request: Bytes| {
            gate.wait();
            Ok(request)
        })
    };
    (builder.service(Custom(answer)), gate)
}

fn one_connection(builder: ServerBuilder) -> (Peer, thread::JoinHandle<Result<()>>) {
    let (here, there) = UnixStream::pair().unwrap();
    let server = builder.service(Echo).build().unwrap();
    let serving = thread::spawn(move || server.serve_connection(there));
    (Peer(here), serving)
}

#[test]
fn idle_connections_have_none() {
    alone("threads::idle_connections_have_none", || {
        let (server, path, serving) = serve(Server::builder());
        let base = threads();
        let clients: Vec<_> = (0..1000).map(|_| Client::connect(&path).unwrap()).collect();
        until(|| format!("{server:?}").contains("connections: 1000"));
        assert_eq!(threads(), base);
        // Used once, they are as idle as before.
        for client in &clients {
            assert_eq!(client.echo(&Context::new(), "x").unwrap(), "x");
        }
        assert!(threads() < base + 8, "{} and {base}", threads());
        until(|| threads() == base);
        server.close();
        serving.join().unwrap().unwrap();
        assert!(clients[999].closed().is_closed());
    });
}

#[test]
fn slow_handlers_have_no_more_than_allowed() {
    alone("threads::slow_handlers_have_no_more_than_allowed", || {
        let base = threads();
        let running = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
        let counted = Arc::clone(&running);
        let answer = move |call: Call| {
            let running = Arc::clone(&counted);
            call.unary(Raw, move |_, request: Bytes| {
                let now = running.0.fetch_add(1, Ordering::SeqCst) + 1;
                running.1.fetch_max(now, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(5));
                running.0.fetch_sub(1, Ordering::SeqCst);
                Ok(request)
            })
        };
        let builder = Server::builder().max_threads(16).service(Custom(answer));
        let (mut peer, serving) = one_connection(builder);
        for call in 0..400 {
            peer.request(2 * call + 1, 0, "test.Custom", "Slow", b"x", 0);
        }
        let mut answered: Vec<_> = (0..400).map(|_| peer.response().unwrap()).collect();
        // The server's thread, and the pool's.
        assert!(threads() <= base + 1 + 16, "{} and {base}", threads());
        answered.sort_unstable();
        assert!(
            answered
                .into_iter()
                .eq((0..400).map(|call| (2 * call + 1, 0)))
        );
        let most = running.1.load(Ordering::SeqCst);
        assert!((4..=16).contains(&most), "{most} at once");
        until(|| threads() == base + 1);
        drop(peer);
        serving.join().unwrap().unwrap();
    });
}

#[test]
fn calls_that_wait_for_one_run_in_order() {
    patiently(|| {
        let order = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&order);
        let (builder, gate) = gated(Server::builder().max_threads(1));
        let held = Arc::clone(&gate);
        struct Second<F>(F);
        impl<F: Fn(Call) -> ttrpc_runtime::blocking::Reply + Send + Sync + 'static>
            ttrpc_runtime::blocking::Service for Second<F>
        {
            fn name(&self) -> &'static str {
                "test.Second"
            }
            fn call(&self, call: Call) -> ttrpc_runtime::blocking::Reply {
                (self.0)(call)
            }
        }
        let note = Second(move |call: Call| {
            let order = Arc::clone(&noted);
            call.unary(Raw, move |_, request: Bytes| {
                order.lock().unwrap().push(number(&request));
                Ok(request)
            })
        });
        let (mut peer, serving) = one_connection(builder.service(note));
        peer.request(1, 0, "test.Custom", "Hold", b"", 0);
        gate.hold(1);
        for call in 1..200u64 {
            let id = 2 * call as u32 + 1;
            peer.request(id, 0, "test.Second", "Note", &bytes(call), 0);
            if call == 100 {
                // By now the thread that watches has taken the connection over.
                peer.request(2 * 200 + 1, 0, "test.None", "None", b"", 0);
                assert_eq!(peer.response().unwrap(), (401, 12));
                break;
            }
        }
        held.open();
        for _ in 0..101 {
            assert_eq!(peer.response().unwrap().1, 0);
        }
        assert!(order.lock().unwrap().iter().copied().eq(1..=100));
        drop(peer);
        serving.join().unwrap().unwrap();
    });
}

#[test]
fn with_none_left_deadlines_and_errors_still_go_out() {
    patiently(|| {
        let (builder, gate) = gated(Server::builder().max_threads(2));
        let (server, path, serving) = serve(builder);
        let mut busy = Peer(UnixStream::connect(&path).unwrap());
        busy.request(1, 0, "test.Custom", "Hold", b"", 0);
        busy.request(3, 0, "test.Custom", "Hold", b"", 0);
        gate.hold(2);
        for round in 0..3 {
            let mut other = Peer(UnixStream::connect(&path).unwrap());
            // A call that has to wait, with a deadline and without.
            other.request(1, 0, "test.Echo", "Unary", b"late", 60_000_000);
            other.request(3, 0, "test.Echo", "Unary", b"waits", 0);
            other.request(5, 0, "test.None", "None", b"", 0);
            assert_eq!(other.response().unwrap(), (5, 12));
            other.request(7, 0, "test.Echo", "None", b"", 0);
            assert_eq!(other.response().unwrap(), (7, 12));
            other.frame(9, 1, 0, b"\xff\xff no request");
            assert_eq!(other.response().unwrap(), (9, 3));
            other.frame(2, 1, 0, b"");
            assert_eq!(other.response().unwrap(), (2, 3));
            other.frame(11, 3, 0, b"stray");
            assert_eq!(other.response().unwrap(), (11, 3));
            assert_eq!(other.response().unwrap(), (1, 4));
            // On the connection that keeps the threads it is no different.
            let id = 5 + 2 * round;
            busy.request(id, 0, "test.Echo", "Unary", b"late", 20_000_000);
            assert_eq!(busy.response().unwrap(), (id, 4));
            if round == 2 {
                gate.open();
                assert_eq!(other.response().unwrap(), (3, 0));
                other.request(13, 0, "test.Echo", "Unary", b"goes on", 0);
                assert_eq!(other.response().unwrap(), (13, 0));
            }
        }
        server.close();
        serving.join().unwrap().unwrap();
    });
}

/// Calls that wait for a thread count against the limits of their connection as long as they are
/// open, so nothing is to be left of them once they are not.
#[test]
fn calls_that_end_before_their_turn_leave_nothing_behind() {
    const CANCEL: u8 = 0xc4;
    patiently(|| {
        let (builder, gate) = gated(Server::builder().max_threads(1));
        let (server, path, serving) = serve(builder);
        let mut busy = Peer(UnixStream::connect(&path).unwrap());
        busy.request(1, 0, "test.Custom", "Hold", b"", 0);
        gate.hold(1);
        // Each call that waits has a handler, which has the gate.
        let few = || Arc::strong_count(&gate) < 200;
        let mut ids = (3..).step_by(2);
        for id in ids.by_ref().take(1000) {
            busy.request(id, 0, "test.Custom", "Hold", b"", 0);
            busy.frame(id, CANCEL, 0, b"");
        }
        for _ in 0..500 {
            let mut other = Peer(UnixStream::connect(&path).unwrap());
            other.request(1, 0, "test.Custom", "Hold", b"", 0);
            other.request(3, 0, "test.None", "None", b"", 0);
            assert_eq!(other.response().unwrap(), (3, 12));
        }
        let last = ids.next().unwrap();
        busy.request(last, 0, "test.None", "None", b"", 0);
        assert_eq!(busy.response().unwrap(), (last, 12));
        until(few);
        // One that still waits has its turn.
        busy.request(last + 2, 0, "test.Echo", "Unary", b"x", 0);
        gate.open();
        assert_eq!(busy.response().unwrap(), (1, 0));
        assert_eq!(busy.response().unwrap(), (last + 2, 0));
        server.close();
        serving.join().unwrap().unwrap();
    });
}

#[test]
fn a_handler_that_panics_fails_its_call_alone() {
    patiently(|| {
        let (server, path, serving) = serve(Server::builder().max_threads(1));
        let client = Client::connect(&path).unwrap();
        for _ in 0..50 {
            let error = client.echo(&Context::new(), "panic now").unwrap_err();
            assert_eq!(error.code(), Code::INTERNAL);
            assert_eq!(client.echo(&Context::new(), "x").unwrap(), "x");
        }
        server.close();
        serving.join().unwrap().unwrap();
    });
}

#[test]
fn a_handler_that_does_not_return_holds_nobody_up() {
    patiently(|| {
        let (builder, gate) = gated(Server::builder().max_threads(4));
        let (server, path, serving) = serve(builder);
        let (client, other) = (
            Client::connect(&path).unwrap(),
            Client::connect(&path).unwrap(),
        );
        let holds = client.clone();
        let held = thread::spawn(move || holds.custom(&Context::new(), "Hold", "x"));
        gate.hold(1);
        for n in 0..100 {
            assert_eq!(client.echo(&Context::new(), bytes(n)).unwrap(), bytes(n));
            assert_eq!(other.echo(&Context::new(), bytes(n)).unwrap(), bytes(n));
        }
        server.shutdown(Duration::from_millis(50));
        serving.join().unwrap().unwrap();
        assert!(held.join().unwrap().unwrap_err().is_closed());
        gate.open();
    });
}

/// Whoever looks after the pool may be the thread of a connection that ends.
#[test]
fn of_one_server_serve_many_connections_that_come_and_go() {
    patiently(|| {
        let (builder, gate) = gated(Server::builder().max_threads(256));
        let server = builder.service(Echo).build().unwrap();
        let (ended, ends) = mpsc::channel();
        let connect = || {
            let (here, there) = UnixStream::pair().unwrap();
            let (server, ended) = (server.clone(), ended.clone());
            thread::spawn(move || ended.send(server.serve_connection(there)).unwrap());
            Client::new(here).unwrap()
        };
        let mut held = Vec::new();
        for round in 0..100 {
            let (brief, lasting) = (connect(), connect());
            let holds = lasting.clone();
            brief.echo(&Context::new(), "x").unwrap();
            lasting.echo(&Context::new(), "x").unwrap();
            held.push(thread::spawn(move || {
                holds.custom(&Context::new(), "Hold", "x")
            }));
            gate.hold(round + 1);
            drop(brief);
            assert_eq!(lasting.echo(&within(20_000), "x").unwrap(), "x");
        }
        gate.open();
        held.into_iter()
            .for_each(|h| drop(h.join().unwrap().unwrap()));
        drop(ended);
        assert!(ends.into_iter().take(200).all(|outcome| outcome.is_ok()));
    });
}

/// Limits the memory that this process may have to what it has and some more.
#[allow(unsafe_code)]
fn limit_memory(more: Option<u64>) {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
    let limit = libc::rlimit {
        rlim_cur: more.map_or(libc::RLIM_INFINITY, |more| pages * 4096 + more),
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the pointer is to a limit.
    assert_eq!(
        unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) },
        0
    );
}

#[test]
fn that_the_system_does_not_have_are_not_needed() {
    // A stack takes more than may be had, and so much that the system keeps none for later;
    // all else that a starting thread takes is less.
    alone_with(
        Some(("RUST_MIN_STACK", "536870912")),
        "threads::that_the_system_does_not_have_are_not_needed",
        || {
            let (builder, gate) = gated(Server::builder());
            let (server, path, serving) = serve(builder);
            let mut first = Peer(UnixStream::connect(&path).unwrap());
            let mut second = Peer(UnixStream::connect(&path).unwrap());
            // Without any, what needs none is done.
            let none = threads();
            limit_memory(Some(200 << 20));
            first.request(1, 0, "test.Echo", "Unary", b"late", 50_000_000);
            assert_eq!(first.response().unwrap(), (1, 4));
            first.request(3, 0, "test.Echo", "Unary", b"waits", 0);
            second.request(1, 0, "test.None", "None", b"", 0);
            assert_eq!(second.response().unwrap(), (1, 12));
            limit_memory(None);
            assert_eq!(first.response().unwrap(), (3, 0));
            // With one, or two where the first was slow to begin, those do it all.
            limit_memory(Some(200 << 20));
            let few = threads() - none;
            for id in 2..50 {
                first.request(2 * id + 1, 0, "test.Echo", "Unary", b"x", 0);
                assert_eq!(first.response().unwrap(), (2 * id + 1, 0));
            }
            for n in 0..few as u32 {
                first.request(101 + 2 * n, 0, "test.Custom", "Hold", b"", 0);
            }
            gate.hold(few);
            second.request(3, 0, "test.Echo", "Unary", b"late", 50_000_000);
            second.request(5, 0, "test.Echo", "Unary", b"waits", 0);
            assert_eq!(second.response().unwrap(), (3, 4));
            gate.open();
            assert_eq!(second.response().unwrap(), (5, 0));
            for _ in 0..few {
                assert_eq!(first.response().unwrap().1, 0);
            }
            limit_memory(None);
            server.close();
            serving.join().unwrap().unwrap();
        },
    );
}

/// A handler that waits for messages keeps its thread, too.
#[test]
fn with_all_waiting_for_messages_deadlines_and_errors_still_go_out() {
    patiently(|| {
        let (server, path, serving) = serve(Server::builder().max_threads(2));
        let talks = [(); 2].map(|()| {
            let client = Client::connect(&path).unwrap();
            let (sender, requests) = Streaming::channel(1);
            let mut replies = client.chat(&Context::new(), requests).unwrap();
            sender.send(bytes(7)).unwrap();
            assert_eq!(replies.message().unwrap(), Some(bytes(7)));
            (sender, replies)
        });
        let mut other = Peer(UnixStream::connect(&path).unwrap());
        for round in 0..3 {
            // Also once nobody looks after the threads any more.
            thread::sleep(Duration::from_millis(50 * round));
            let id = 1 + 10 * round as u32;
            other.request(id, 0, "test.Echo", "Unary", b"late", 20_000_000);
            other.request(id + 2, 0, "test.None", "None", b"", 0);
            assert_eq!(other.response().unwrap(), (id + 2, 12));
            assert_eq!(other.response().unwrap(), (id, 4));
        }
        other.request(101, 0, "test.Echo", "Unary", b"waits", 0);
        drop(talks);
        assert_eq!(other.response().unwrap(), (101, 0));
        server.close();
        serving.join().unwrap().unwrap();
    });
}

#[test]
fn with_all_in_handshakes_deadlines_and_errors_still_go_out() {
    patiently(|| {
        let gate = Arc::<Gate>::default();
        let (waits, count) = (Arc::clone(&gate), AtomicUsize::new(0));
        let builder = Server::builder().max_threads(1).handshake(move |_| {
            if count.fetch_add(1, Ordering::SeqCst) > 0 {
                waits.wait();
            }
            Ok(())
        });
        let (server, path, serving) = serve(builder);
        let mut first = Peer(UnixStream::connect(&path).unwrap());
        first.request(1, 0, "test.Echo", "Unary", b"x", 0);
        assert_eq!(first.response().unwrap(), (1, 0));
        let mut second = Peer(UnixStream::connect(&path).unwrap());
        second.request(1, 0, "test.Echo", "Unary", b"x", 0);
        gate.hold(1);
        first.request(3, 0, "test.Echo", "Unary", b"late", 20_000_000);
        first.request(5, 0, "test.None", "None", b"", 0);
        assert_eq!(first.response().unwrap(), (5, 12));
        assert_eq!(first.response().unwrap(), (3, 4));
        gate.open();
        assert_eq!(second.response().unwrap(), (1, 0));
        server.close();
        serving.join().unwrap().unwrap();
    });
}

/// What a handler has, and drops with a panic unless it runs.
struct Unused;

impl Drop for Unused {
    fn drop(&mut self) {
        panic!("as expected");
    }
}

#[test]
fn calls_whose_handlers_panic_when_they_are_dropped_end_alone() {
    patiently(|| {
        let (go, gone) = mpsc::channel::<()>();
        let gone = Arc::new(Mutex::new(gone));
        let answer = Custom(move |call: Call| {
            let (gone, unused) = (Arc::clone(&gone), Unused);
            call.unary(Raw, move |_, request: Bytes| {
                std::mem::forget(unused);
                let _ = gone.lock().unwrap().recv();
                Ok(request)
            })
        });
        let pair = Pair::with(
            |server| server.max_threads(1).service(answer),
            |client| client,
        );
        let custom = Method::<Raw, Bytes, Bytes>::new("test.Custom", "Waits");
        let first = pair.client.start(&Context::new(), custom, Bytes::new());
        for _ in 0..3 {
            let calls = [(); 50].map(|()| pair.client.start(&within(30), custom, Bytes::new()));
            for call in calls {
                assert!(call.wait().unwrap_err().is_timeout());
            }
        }
        drop(go);
        first.wait().unwrap();
        assert_eq!(pair.echo(&Context::new(), "x").unwrap(), "x");
        pair.end().unwrap();
    });
}
