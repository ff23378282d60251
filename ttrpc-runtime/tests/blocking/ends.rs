//! How connections, clients and servers end.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use socket2::{Domain, SockAddr, Socket, Type};
use ttrpc_runtime::blocking::{Client, Server, ServerBuilder, Streaming};
use ttrpc_runtime::codec::Raw;
use ttrpc_runtime::{Code, Context, Listener, Result};

use crate::peer::Peer;
use crate::pending::ECHO;
use crate::support::{Calls, Custom, Echo, PATIENCE, Pair, bytes, patiently, until, within};

pub fn path() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("ttrpc-blocking-{}-{number}.sock", std::process::id());
    std::env::temp_dir().join(name)
}

/// A server with a listener; what `serve` returns comes from the thread.
pub fn serve(builder: ServerBuilder) -> (Server, PathBuf, JoinHandle<Result<()>>) {
    let server = builder.service(Echo).build().unwrap();
    let (serves, path) = (server.clone(), path());
    let listener = Listener::bind(&path).unwrap();
    let serving = thread::spawn(move || serves.serve(listener));
    (server, path, serving)
}

/// Runs calls until they are told to.
fn held() -> (
    Custom<impl Fn(ttrpc_runtime::blocking::Call) -> ttrpc_runtime::blocking::Reply>,
    mpsc::Receiver<()>,
    mpsc::Sender<()>,
) {
    let (begin, begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (begin, released) = (Mutex::new(begin), Arc::new(Mutex::new(released)));
    let service = Custom(move |call: ttrpc_runtime::blocking::Call| {
        let released = Arc::clone(&released);
        begin.lock().unwrap().send(()).unwrap();
        call.unary(Raw, move |_, request: Bytes| {
            let _ = released.lock().unwrap().recv();
            Ok(request)
        })
    });
    (service, begun, release)
}

#[test]
fn a_graceful_shutdown_lets_calls_end_and_refuses_new_ones() {
    patiently(|| {
        let (service, begun, release) = held();
        let (server, path, serving) = serve(Server::builder().service(service));
        let client = Client::connect(&path).unwrap();
        let idle = Client::connect(&path).unwrap();
        assert_eq!(idle.echo(&Context::new(), "x").unwrap(), "x");
        let calls = client.clone();
        let call = thread::spawn(move || calls.custom(&Context::new(), "Any", "hello"));
        begun.recv().unwrap();
        let shuts = thread::spawn(move || server.shutdown(Duration::MAX));
        // Of an idle connection nothing is left.
        assert!(idle.closed().is_closed());
        let error = client.echo(&Context::new(), "no").unwrap_err();
        assert_eq!(error.code(), Code::UNAVAILABLE);
        assert!(!shuts.is_finished());
        // Who connects now is not left to wait for its end, and another server has the place.
        until(|| Client::connect(&path).is_err());
        drop(Listener::bind(&path).unwrap());
        release.send(()).unwrap();
        assert_eq!(call.join().unwrap().unwrap(), "hello");
        shuts.join().unwrap();
        serving.join().unwrap().unwrap();
        assert!(client.closed().is_closed());
        assert!(Client::connect(&path).unwrap_err().is_io());
    });
}

#[test]
fn a_shutdown_ends_in_time_what_does_not_end_itself() {
    patiently(|| {
        let (service, begun, release) = held();
        let (server, path, serving) = serve(Server::builder().service(service));
        let client = Client::connect(&path).unwrap();
        let call = thread::spawn(move || client.custom(&Context::new(), "Any", "hello"));
        begun.recv().unwrap();
        let begin = Instant::now();
        server.shutdown(Duration::from_millis(100));
        assert!(begin.elapsed() >= Duration::from_millis(100));
        assert!(call.join().unwrap().unwrap_err().is_closed());
        serving.join().unwrap().unwrap();
        drop(release);
    });
}

#[test]
fn close_ends_everything_and_serve_returns() {
    patiently(|| {
        let (service, begun, release) = held();
        let (server, path, serving) = serve(Server::builder().service(service));
        let clients: Vec<_> = (0..20).map(|_| Client::connect(&path).unwrap()).collect();
        for client in &clients {
            client.echo(&Context::new(), "x").unwrap();
        }
        let caller = clients[0].clone();
        let call = thread::spawn(move || caller.custom(&Context::new(), "Any", "hello"));
        let reader = clients[1].clone();
        let (_sender, requests) = Streaming::channel(1);
        let mut chat = reader.chat(&Context::new(), requests).unwrap();
        begun.recv().unwrap();
        server.close();
        assert!(call.join().unwrap().unwrap_err().is_closed());
        assert!(chat.message().unwrap_err().is_closed());
        serving.join().unwrap().unwrap();
        for client in clients {
            assert!(client.closed().is_closed());
        }
        drop(release);
    });
}

#[test]
fn a_closed_server_serves_no_more() {
    patiently(|| {
        let server = Server::builder().service(Echo).build().unwrap();
        server.close();
        server.serve(Listener::bind(&path()).unwrap()).unwrap();
        let (here, there) = UnixStream::pair().unwrap();
        server.serve_connection(there).unwrap();
        let error = Client::new(here).unwrap().echo(&Context::new(), "x");
        assert_eq!(error.unwrap_err().code(), Code::UNAVAILABLE);
    });
}

#[test]
fn a_client_that_is_dropped_leaves_its_streams_open() {
    let pair = Pair::new();
    let numbers = pair.numbers(&Context::new(), 10_000).unwrap();
    let (sender, requests) = Streaming::channel(1);
    let mut chat = pair.chat(&Context::new(), requests).unwrap();
    let ends = thread::spawn(move || pair.end());
    assert_eq!(numbers.map(Result::unwrap).count(), 10_000);
    for n in 0..10 {
        sender.send(bytes(n)).unwrap();
        assert_eq!(chat.message().unwrap(), Some(bytes(n)));
    }
    assert!(!ends.is_finished());
    drop(sender);
    assert_eq!(chat.message().unwrap(), None);
    drop(chat);
    ends.join().unwrap().unwrap();
}

#[test]
fn a_peer_that_closes_fails_every_call() {
    patiently(|| {
        for partial in [
            &b""[..],
            b"\0\0\0",
            b"\0\0\x10\0\0\0\0\x01\x02\0some",
            b"\0\x20\0\0\0\0\0\x01\x02\0x",
        ] {
            let (here, there) = UnixStream::pair().unwrap();
            let client = Client::new(here).unwrap();
            thread::scope(|scope| {
                let calls: Vec<_> = (0..4)
                    .map(|_| scope.spawn(|| client.echo(&Context::new(), "x")))
                    .chain([scope.spawn(|| {
                        let mut numbers = client.numbers(&Context::new(), 3)?;
                        numbers.message().map(Option::unwrap)
                    })])
                    .collect();
                let mut peer = Peer(there);
                (0..5).for_each(|_| drop(peer.next().unwrap()));
                std::io::Write::write_all(&mut peer.0, partial).unwrap();
                drop(peer);
                for call in calls {
                    let error = call.join().unwrap().unwrap_err();
                    assert!(error.is_closed(), "{error}");
                }
            });
            assert!(client.closed().is_closed());
            assert!(client.echo(&Context::new(), "x").unwrap_err().is_closed());
        }
    });
}

#[test]
fn on_close_is_called_once_at_once_with_a_thread_and_by_the_next_call_without() {
    patiently(|| {
        for reader_thread in [false, true] {
            let (here, there) = UnixStream::pair().unwrap();
            let (tell, told) = mpsc::channel();
            let tell = Mutex::new(tell);
            let client = Client::builder()
                .reader_thread(reader_thread)
                .on_close(move |error| tell.lock().unwrap().send(error.clone()).unwrap())
                .over(here)
                .unwrap();
            drop(there);
            if !reader_thread {
                assert!(client.echo(&Context::new(), "x").unwrap_err().is_closed());
            }
            assert!(told.recv_timeout(PATIENCE).unwrap().is_closed());
            assert!(client.echo(&Context::new(), "x").unwrap_err().is_closed());
            drop(client);
            assert!(told.recv().is_err(), "only once");
        }
    });
}

/// It may be called by the thread that sends, and let go of what that sends with.
#[test]
fn on_close_may_drop_the_senders_of_streams() {
    patiently(|| {
        let (here, there) = UnixStream::pair().unwrap();
        let kept = Arc::new(Mutex::new(Vec::new()));
        let drops = Arc::clone(&kept);
        let builder = Client::builder().on_close(move |_| drops.lock().unwrap().clear());
        let client = builder.over(here).unwrap();
        let (sender, requests) = Streaming::channel(1);
        kept.lock().unwrap().push(sender.clone());
        let replies = client.chat(&Context::new(), requests).unwrap();
        drop(there);
        let _ = sender.send(Bytes::new());
        assert!(kept.lock().unwrap().is_empty());
        drop(replies);
    });
}

#[test]
fn a_reader_thread_ends_with_its_client_and_calls_work_beside_it() {
    patiently(|| {
        let pair = Pair::with(|server| server, |client| client.reader_thread(true));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..300 {
                        assert_eq!(pair.echo(&Context::new(), bytes(n)).unwrap(), bytes(n));
                    }
                    assert_eq!(pair.numbers(&Context::new(), 999).unwrap().count(), 999);
                });
            }
        });
        pair.end().unwrap();
    });
}

#[test]
fn reconnects_if_asked_to() {
    patiently(|| {
        let (server, path, serving) = serve(Server::builder());
        let client = Client::builder().reconnect(true).connect(&path).unwrap();
        let fixed = Client::connect(&path).unwrap();
        assert_eq!(client.echo(&Context::new(), "x").unwrap(), "x");
        server.close();
        serving.join().unwrap().unwrap();
        let error = client.echo(&Context::new(), "x").unwrap_err();
        assert!(error.is_io() || error.is_closed(), "{error}");
        let server = Server::builder().service(Echo).build().unwrap();
        let (serves, listener) = (server.clone(), Listener::bind(&path).unwrap());
        let serving = thread::spawn(move || serves.serve(listener));
        assert_eq!(client.echo(&Context::new(), "again").unwrap(), "again");
        assert!(fixed.echo(&Context::new(), "x").unwrap_err().is_closed());
        server.close();
        serving.join().unwrap().unwrap();
        // That it ended while nothing was under way costs the next call nothing.
        let server = Server::builder().service(Echo).build().unwrap();
        let (serves, listener) = (server.clone(), Listener::bind(&path).unwrap());
        let serving = thread::spawn(move || serves.serve(listener));
        assert_eq!(client.echo(&Context::new(), "again").unwrap(), "again");
        drop((client, fixed));
        server.close();
        serving.join().unwrap().unwrap();
    });
}

/// Whoever connects again looks at all that has come: the end may be behind a reply that
/// nobody waits for any more.
#[test]
fn an_end_behind_a_late_reply_costs_the_next_call_nothing() {
    patiently(|| {
        let path = path();
        let listener = UnixListener::bind(&path).unwrap();
        let client = Client::builder().reconnect(true).connect(&path).unwrap();
        let mut first = Peer(listener.accept().unwrap().0);
        for _ in 0..3 {
            drop(client.start(&Context::new(), ECHO, Bytes::new()));
            let (id, ..) = first.next().unwrap();
            first.frame(id, 2, 0, &[]);
        }
        drop(first);
        let serving = thread::spawn(move || {
            let server = Server::builder().service(Echo).build().unwrap();
            server.serve_connection(listener.accept().unwrap().0)
        });
        assert_eq!(client.echo(&Context::new(), "x").unwrap(), "x");
        drop(client);
        serving.join().unwrap().unwrap();
    });
}

/// Nobody is left to write what the peer has not taken.
#[test]
fn on_close_is_called_for_a_client_that_is_dropped_with_something_to_write() {
    patiently(|| {
        let (here, there) = UnixStream::pair().unwrap();
        let (tell, told) = mpsc::channel();
        let tell = Mutex::new(tell);
        let builder = Client::builder();
        let builder =
            builder.on_close(move |error| tell.lock().unwrap().send(error.clone()).unwrap());
        let client = builder.over(here).unwrap();
        drop(client.start(&Context::new(), ECHO, vec![0; 2 << 20].into()));
        drop(client);
        assert!(told.recv().unwrap().is_closed());
        assert!(told.recv().is_err(), "only once");
        drop(there);
    });
}

/// A server that does not accept may have no room for one more connection.
#[test]
fn who_connects_again_waits_no_longer_than_the_call_may_take() {
    patiently(|| {
        let path = path();
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        listener.listen(0).unwrap();
        let client = Client::builder().reconnect(true).connect(&path).unwrap();
        drop(listener.accept().unwrap());
        let waits = UnixStream::connect(&path).unwrap();
        let error = client.echo(&within(50), "x").unwrap_err();
        assert!(error.is_timeout(), "{error}");
        drop((waits, listener));
        std::fs::remove_file(path).unwrap();
    });
}
