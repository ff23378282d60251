//! Many threads on one connection, which leave in any order.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use ttrpc_runtime::blocking::{Client, Streaming};
use ttrpc_runtime::{Code, Context, Limits};

use crate::peer::Peer;
use crate::support::{Calls, Pair, bytes, number, patiently, within};

/// The next of some numbers without pattern.
fn random(state: &mut u64) -> u64 {
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

/// Those that are woken together leave what they say to each other, and then may all do
/// something else.
#[test]
fn what_they_leave_to_each_other_is_written() {
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
                        assert_eq!(replies.message().unwrap().unwrap(), "say");
                        if n % 3 > 0 {
                            sender.send("said".into()).unwrap();
                        }
                        heard.wait();
                    }
                });
            }
            let ids: Vec<_> = (0..THREADS).map(|_| peer.next().unwrap().0).collect();
            let mut asked = Peer(UnixStream::pair().unwrap().0);
            for round in 0..20 {
                // By one write, and some rounds while they still fall asleep.
                thread::sleep(Duration::from_millis(round % 3));
                let (mine, theirs) = UnixStream::pair().unwrap();
                asked.0 = mine;
                ids.iter().for_each(|id| asked.frame(*id, 3, 0, b"say"));
                let mut frames = vec![0; THREADS * 13];
                std::io::Read::read_exact(&mut &theirs, &mut frames).unwrap();
                peer.0.write_all(&frames).unwrap();
                for _ in (0..THREADS).filter(|n| n % 3 > 0) {
                    assert_eq!(peer.next().unwrap().3, b"said");
                }
                heard.wait();
            }
        });
    });
}
