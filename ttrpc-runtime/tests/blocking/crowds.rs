//! Many threads on one connection, which leave in any order.

use std::thread;
use std::time::Duration;

use bytes::Bytes;
use ttrpc_runtime::{Code, Context, Limits};

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
