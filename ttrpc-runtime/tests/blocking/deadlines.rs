//! Deadlines hold, whatever the thread does meanwhile and whoever reads.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ttrpc_runtime::blocking::{Client, Sender, Server, Streaming};
use ttrpc_runtime::codec::Raw;
use ttrpc_runtime::{Context, Error, Result};

use crate::support::{
    Calls, Echo, PATIENCE, Pair, bytes, number, patiently, until, waiting, within,
};

/// A client whose peer reads nothing and says nothing, yet.
fn ignored() -> (Client, UnixStream) {
    let (here, there) = UnixStream::pair().unwrap();
    (Client::new(here).unwrap(), there)
}

/// Now it does.
fn serve(there: UnixStream) {
    let server = Server::builder().service(Echo).build().unwrap();
    std::thread::spawn(move || server.serve_connection(there));
}

/// Checks that something ends when its time is up, neither before nor long after.
fn times_out<T>(millis: u64, f: impl FnOnce(&Context) -> Result<T>) {
    let begun = Instant::now();
    let error = f(&within(millis)).err().unwrap();
    let took = begun.elapsed();
    assert!(error.is_timeout(), "{error}");
    assert!(took >= Duration::from_millis(millis), "{took:?}");
    assert!(took < PATIENCE / 4, "{took:?}");
}

fn large() -> Bytes {
    Bytes::from(vec![1; 4_000_000])
}

#[test]
fn while_the_thread_itself_reads() {
    patiently(|| {
        let (client, there) = ignored();
        for millis in [1, 5, 9, 24, 26, 60, 120] {
            times_out(millis, |ctx| client.echo(ctx, "hello"));
        }
        serve(there);
        assert_eq!(client.echo(&Context::new(), "hello").unwrap(), "hello");
    });
}

#[test]
fn while_another_thread_reads() {
    patiently(|| {
        let (client, there) = ignored();
        std::thread::scope(|scope| {
            let reads = scope.spawn(|| client.echo(&Context::new(), "reads"));
            let follows: Vec<_> = (0..8)
                .map(|n| {
                    let client = &client;
                    scope.spawn(move || {
                        for millis in [1, 9, 26, 60] {
                            times_out(millis + n, |ctx| client.echo(ctx, "hello"));
                        }
                    })
                })
                .collect();
            follows.into_iter().for_each(|f| f.join().unwrap());
            serve(there);
            assert_eq!(reads.join().unwrap().unwrap(), "reads");
        });
    });
}

#[test]
fn while_it_writes_to_a_peer_that_does_not_read() {
    patiently(|| {
        let (client, there) = ignored();
        times_out(80, |ctx| client.echo(ctx, large()));
        std::thread::scope(|scope| {
            for millis in [20, 60, 90] {
                let client = &client;
                scope.spawn(move || times_out(millis, |ctx| client.echo(ctx, large())));
            }
        });
        serve(there);
        assert_eq!(client.echo(&Context::new(), large()).unwrap(), large());
    });
}

/// A thread that gives up its call leaves what it was writing to those who go on.
#[test]
fn a_writer_that_gives_up_is_replaced() {
    patiently(|| {
        let (client, there) = ignored();
        std::thread::scope(|scope| {
            let (sender, requests) = Streaming::channel(1);
            let mut replies = client.chat(&Context::new(), requests).unwrap();
            let reads = scope.spawn(move || replies.message());
            // It is not told when it has begun to read; either way the test holds.
            std::thread::sleep(Duration::from_millis(50));
            let gives_up = scope.spawn(|| times_out(500, |ctx| client.echo(ctx, large())));
            until(|| waiting(&there) > 10_000);
            let small = (0..4).map(|_| scope.spawn(|| client.echo(&Context::new(), "hello")));
            let small: Vec<_> = small.collect();
            gives_up.join().unwrap();
            serve(there);
            for small in small {
                assert_eq!(small.join().unwrap().unwrap(), "hello");
            }
            sender.send("the end".into()).unwrap();
            assert_eq!(reads.join().unwrap().unwrap().unwrap(), "the end");
        });
    });
}

#[test]
fn of_streams_that_are_read() {
    patiently(|| {
        let (client, there) = ignored();
        times_out(50, |ctx| client.numbers(ctx, 9)?.message());
        times_out(50, |ctx| {
            let (_sender, requests) = Streaming::channel(1);
            client.sum(ctx, requests)
        });
        times_out(50, |ctx| {
            let (_sender, requests) = Streaming::channel(1);
            client.chat(ctx, requests)?.message()
        });
        times_out(50, |ctx| {
            client.chat(ctx, Streaming::from_iter([]))?.message()
        });
        serve(there);
        assert_eq!(client.numbers(&Context::new(), 9).unwrap().count(), 9);
    });
}

#[test]
fn of_streams_that_are_sent_to_a_peer_that_does_not_read() {
    patiently(|| {
        let endless = || std::iter::repeat_with(|| Bytes::from(vec![1; 60_000]));
        let (client, there) = ignored();
        times_out(60, |ctx| client.sum(ctx, Streaming::from_iter(endless())));
        times_out(60, |ctx| {
            let send = move |sender: ttrpc_runtime::blocking::Sender<Bytes>| {
                endless().try_for_each(|message| sender.send(message))
            };
            client.sum(ctx, Streaming::produce(send))
        });
        times_out(60, |ctx| {
            let (sender, requests) = Streaming::channel(1);
            let mut replies = client.chat(ctx, requests)?;
            let sent = endless().try_for_each(|message| sender.send(message));
            assert!(sent.is_err());
            replies.message()
        });
        times_out(60, |ctx| {
            client.chat(ctx, Streaming::from_iter(endless()))?.message()
        });
        serve(there);
        assert_eq!(client.echo(&Context::new(), "hello").unwrap(), "hello");
    });
}

#[test]
fn at_the_server_cancels_the_handler_and_answers_in_time() {
    let (tell, told) = mpsc::channel();
    let pair = Pair::custom(move |call| {
        let tell = tell.clone();
        call.unary(Raw, move |ctx, request: Bytes| {
            if ctx.wait_cancelled(PATIENCE / 2) {
                tell.send(Instant::now()).unwrap();
            }
            Ok(request)
        })
    });
    for millis in [1, 30, 100] {
        times_out(millis, |ctx| pair.custom(ctx, "Any", "hello"));
        told.recv_timeout(PATIENCE).unwrap();
        assert_eq!(pair.echo(&Context::new(), "goes on").unwrap(), "goes on");
    }
    pair.end().unwrap();
}

/// By a client that keeps no time, so that the answer is the server's.
#[test]
fn at_the_server_are_answered_though_the_handler_goes_on() {
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let service = crate::support::Custom(move |call: ttrpc_runtime::blocking::Call| {
        let released = Arc::clone(&released);
        call.unary(Raw, move |_, request: Bytes| {
            released.lock().unwrap().recv().unwrap();
            Ok(request)
        })
    });
    let (here, there) = UnixStream::pair().unwrap();
    let server = Server::builder()
        .service(service)
        .service(Echo)
        .max_threads(1);
    let server = server.build().unwrap();
    let serving = std::thread::spawn(move || server.serve_connection(there));
    let mut peer = crate::peer::Peer(here);
    for id in [1, 3, 5] {
        // The first one runs, the others wait for its thread.
        peer.request(id, 0, "test.Custom", "Any", b"", 50_000_000);
    }
    let mut codes: Vec<_> = (0..3).map(|_| peer.response().unwrap()).collect();
    codes.sort_by_key(|(id, _)| *id);
    assert_eq!(codes, [(1, 4), (3, 4), (5, 4)]);
    release.send(()).unwrap();
    peer.request(7, 0, "test.Echo", "Unary", b"hello", 0);
    assert_eq!(peer.response().unwrap(), (7, 0));
    drop(peer);
    serving.join().unwrap().unwrap();
}

#[test]
fn that_have_passed_send_nothing() {
    let pair = Pair::new();
    let ctx = within(0);
    let is_timeout = |error: Error| assert!(error.is_timeout(), "{error}");
    is_timeout(pair.echo(&ctx, "hello").unwrap_err());
    is_timeout(pair.numbers(&ctx, 3).unwrap_err());
    is_timeout(pair.sum(&ctx, Streaming::from_iter([])).unwrap_err());
    is_timeout(pair.chat(&ctx, Streaming::from_iter([])).unwrap_err());
    pair.end().unwrap();
}

#[test]
fn leave_nothing_behind() {
    let pair = Pair::new();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let pair = &pair;
            scope.spawn(move || {
                for n in 0..200 {
                    let request = bytes(n);
                    match pair.echo(&within(n % 3), request.clone()) {
                        Ok(reply) => assert_eq!(number(&reply), n),
                        Err(error) => assert!(error.is_timeout(), "{thread}: {error}"),
                    }
                }
            });
        }
    });
    assert_eq!(pair.echo(&Context::new(), "goes on").unwrap(), "goes on");
    // The server may still answer those that the client has given up.
    pair.server.shutdown(Duration::MAX);
    pair.end().unwrap();
}

/// Whatever makes them, and whether somebody reads who knew of no time when he began to wait.
#[test]
fn while_requests_are_made_one_by_one() {
    fn endless() -> impl Iterator<Item = Bytes> + Send {
        std::iter::repeat_with(|| {
            std::thread::sleep(Duration::from_millis(1));
            bytes(1)
        })
    }
    fn produced() -> Streaming<Bytes> {
        Streaming::produce(|s: Sender<Bytes>| endless().try_for_each(|m| s.send(m)))
    }
    patiently(|| {
        for has_reader in [false, true] {
            let (client, mut there) = ignored();
            // So that there is always room for one more.
            std::thread::spawn(move || io::copy(&mut there, &mut io::sink()));
            if has_reader {
                let reads = client.clone();
                std::thread::spawn(move || reads.closed());
                std::thread::sleep(Duration::from_millis(50));
            }
            times_out(50, |ctx| client.sum(ctx, Streaming::from_iter(endless())));
            times_out(50, |ctx| client.sum(ctx, produced()));
        }
    });
}

/// No more is asked for then: it may never come.
#[test]
fn while_a_request_is_not_taken() {
    patiently(|| {
        let (client, _there) = ignored();
        let (_never, next) = mpsc::channel();
        let requests = std::iter::once(large()).chain(next);
        times_out(50, |ctx| client.sum(ctx, Streaming::from_iter(requests)));
    });
}
