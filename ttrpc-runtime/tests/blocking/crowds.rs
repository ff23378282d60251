//! Many threads on one connection, which leave in any order.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use ttrpc_runtime::blocking::{Call, Client, Sender, Server, Streaming};
use ttrpc_runtime::codec::Raw;
use ttrpc_runtime::{Code, Context, Limits};

use crate::ends::serve;
use crate::faults::tiny;
use crate::peer::Peer;
use crate::support::{Calls, Custom, Pair, alone, bytes, number, patiently, until, within};

/// The next of some numbers without pattern.
pub fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn of_threads_with_deadlines_and_cancellations() {
    patiently(|| {
        let pair = Pair::new();
        thread::scope(|scope| {
            for t in 1..=32u64 {
                let pair = &pair;
                scope.spawn(move || {
                    let mut dice = t.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    for n in 0..100 {
                        match random(&mut dice) % 6 {
                            0 => {
                                let ctx = within(random(&mut dice) % 4);
                                drop(pair.echo(&ctx, bytes(n)));
                            }
                            1 => {
                                let (ctx, canceller) = Context::new().with_cancel();
                                thread::scope(|scope| {
                                    scope.spawn(move || canceller.cancel());
                                    drop(pair.echo(&ctx, "sleep 1"));
                                });
                            }
                            2 => {
                                let mut numbers = pair.numbers(&Context::new(), 50).unwrap();
                                assert_eq!(number(&numbers.message().unwrap().unwrap()), 0);
                            }
                            _ => {
                                let reply = pair.echo(&Context::new(), bytes(n)).unwrap();
                                assert_eq!(number(&reply), n);
                            }
                        }
                    }
                });
            }
        });
        // Answers that nobody waits for any more may be left unread.
        drop(pair.end());
    });
}

#[test]
fn where_one_stream_is_not_read() {
    patiently(|| {
        let mut limits = Limits::default();
        (limits.inbox_bytes, limits.stall_timeout) = (10_000, Duration::from_millis(100));
        let pair = Pair::with(|server| server, |client| client.limits(limits));
        let mut unread = pair.numbers(&Context::new(), 10_000_000).unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        assert_eq!(pair.echo(&Context::new(), "x").unwrap(), "x");
                    }
                });
            }
        });
        let error = loop {
            match unread.message() {
                Ok(message) => assert!(message.is_some()),
                Err(error) => break error,
            }
        };
        assert_eq!(error.code(), Code::RESOURCE_EXHAUSTED);
        drop(unread);
        assert_eq!(pair.echo(&Context::new(), Bytes::new()).unwrap(), "");
        drop(pair);
    });
}

/// Whether one of many says something, or does something else at once.
fn speaks(n: usize) -> bool {
    n % 3 > 0
}

/// Sends a frame of each of the streams by one write.
fn ask(peer: &mut Peer, ids: &[u32]) {
    let (mine, mut theirs) = UnixStream::pair().unwrap();
    let mut frames = Peer(mine);
    for (n, id) in ids.iter().enumerate() {
        let ask: &[u8] = if speaks(n) { b"say" } else { b"hush" };
        frames.frame(*id, 3, 0, ask);
    }
    drop(frames);
    let mut together = Vec::new();
    theirs.read_to_end(&mut together).unwrap();
    peer.0.write_all(&together).unwrap();
}

/// Those that are woken together leave what they say to each other, and then may all do
/// something else.
#[test]
fn of_callers_say_what_they_leave_to_each_other() {
    const THREADS: usize = 80;
    patiently(|| {
        let (here, there) = UnixStream::pair().unwrap();
        let client = Client::new(here).unwrap();
        let mut peer = Peer(there);
        let heard = Barrier::new(THREADS + 1);
        thread::scope(|scope| {
            for n in 0..THREADS {
                let (client, heard) = (&client, &heard);
                scope.spawn(move || {
                    let (sender, requests) = Streaming::channel(1);
                    let mut replies = client.chat(&Context::new(), requests).unwrap();
                    for _ in 0..20 {
                        replies.message().unwrap().unwrap();
                        match n % 3 {
                            1 => sender.send("said".into()).unwrap(),
                            2 => {
                                let error = client.echo(&Context::new(), "said").unwrap_err();
                                assert!(error.is_protocol(), "{error}");
                            }
                            _ => {}
                        }
                        heard.wait();
                    }
                });
            }
            let ids: Vec<_> = (0..THREADS).map(|_| peer.next().unwrap().0).collect();
            for round in 0..20 {
                // Also while some still fall asleep.
                thread::sleep(Duration::from_millis(round % 3));
                ask(&mut peer, &ids);
                for _ in (0..THREADS).filter(|n| speaks(*n)) {
                    let (id, kind, _, data) = peer.next().unwrap();
                    match kind {
                        // No answer, but an end.
                        1 => peer.frame(id, 2, 0, b"?"),
                        _ => assert_eq!(data, b"said"),
                    }
                }
                heard.wait();
            }
        });
    });
}

#[test]
fn of_handlers_say_what_they_leave_to_each_other() {
    handlers_speak(UnixStream::pair().unwrap(), 5, 20);
}

/// What is left may not fit, and then nobody of those who have come waits for that.
#[test]
fn of_handlers_say_what_does_not_fit_at_once() {
    handlers_speak(tiny(), 1_000, 50);
}

fn handlers_speak((here, there): (UnixStream, UnixStream), len: usize, rounds: u64) {
    const THREADS: usize = 40;
    patiently(move || {
        let heard = Arc::new(Barrier::new(THREADS + 1));
        let hears = Arc::clone(&heard);
        let service = Custom(move |call: Call| {
            let heard = Arc::clone(&hears);
            call.bidi_streaming(Raw, move |_, requests: Streaming<Bytes>| {
                Ok(Streaming::produce(move |replies: Sender<Bytes>| {
                    for request in requests {
                        if request? == "say" {
                            replies.send(vec![7; len].into())?;
                        }
                        heard.wait();
                    }
                    Ok(())
                }))
            })
        });
        let server = Server::builder().service(service).build().unwrap();
        let serving = thread::spawn(move || server.serve_connection(there));
        let mut peer = Peer(here);
        let ids: Vec<_> = (0..THREADS as u32).map(|n| 2 * n + 1).collect();
        for id in &ids {
            peer.request(*id, 2, "test.Custom", "Chat", b"", 0);
        }
        for round in 0..rounds {
            thread::sleep(Duration::from_millis(round % 3));
            ask(&mut peer, &ids);
            thread::sleep(Duration::from_millis(round % 2 * 3));
            for _ in (0..THREADS).filter(|n| speaks(*n)) {
                assert_eq!(peer.next().unwrap().3, vec![7; len]);
            }
            heard.wait();
        }
        drop(peer);
        drop(serving.join().unwrap());
    });
}

/// However fast others come, those that have gone are let go of meanwhile.
#[test]
fn connections_that_come_and_go_take_no_more_descriptors_than_there_are() {
    alone(
        "crowds::connections_that_come_and_go_take_no_more_descriptors_than_there_are",
        || {
            let complaints = Arc::new(AtomicUsize::new(0));
            let counts = Arc::clone(&complaints);
            let builder = Server::builder().on_accept_error(move |_| {
                counts.fetch_add(1, Ordering::Relaxed);
            });
            let (server, path, serving) = serve(builder);
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| (0..20_000).for_each(|_| drop(UnixStream::connect(&path))));
                }
            });
            assert_eq!(complaints.load(Ordering::Relaxed), 0);
            until(|| format!("{server:?}").contains("connections: 0"));
            server.close();
            serving.join().unwrap().unwrap();
        },
    );
}
