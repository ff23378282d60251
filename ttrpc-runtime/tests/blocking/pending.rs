//! Calls that are begun, and waited for later.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use socket2::SockRef;
use ttrpc_runtime::blocking::{
    Body, Client, Interceptor, Invocation, Method, Next, Pending, Server,
};
use ttrpc_runtime::codec::{Buffer, Codec, CodecError, Raw};
use ttrpc_runtime::{Code, Context, Error, Limits, Listener, Result};

use crate::crowds::random;
use crate::ends::serve;
use crate::peer::Peer;
use crate::support::{Calls, Echo, Pair, bytes, number, patiently, until, waiting, within};

pub const ECHO: Method<Raw, Bytes, Bytes> = Method::new("test.Echo", "Unary");

fn start(client: &Client, ctx: &Context, request: impl Into<Bytes>) -> Pending<Bytes> {
    client.start(ctx, ECHO, request.into())
}

/// A client whose peer does as the test says.
fn by_hand() -> (Client, Peer) {
    let (here, there) = UnixStream::pair().unwrap();
    (Client::new(here).unwrap(), Peer(there))
}

/// Replies to the next request with so many zeros.
fn reply(peer: &mut Peer, len: u16) {
    let (id, ..) = peer.next().unwrap();
    let [low, high] = [len as u8 & 0x7f | 0x80, (len >> 7) as u8];
    let mut response = vec![0x12, low, high];
    response.resize(3 + usize::from(len), 0);
    peer.frame(id, 2, 0, &response);
}

#[test]
fn in_any_order_and_some_given_up() {
    patiently(|| {
        let pair = Pair::new();
        let ctx = Context::new();
        for round in 0..20 {
            let call = |n| (n, start(&pair.client, &ctx, bytes(n)));
            let mut calls: Vec<_> = (0..300).map(call).collect();
            calls.reverse();
            for step in [7, 2, 3, 1] {
                let mut rest = Vec::new();
                for (at, (n, call)) in calls.into_iter().enumerate() {
                    match (at + round) % (2 * step) {
                        0 => drop(call),
                        at if at % step == 0 => assert_eq!(number(&call.wait().unwrap()), n),
                        _ => rest.push((n, call)),
                    }
                }
                calls = rest;
            }
            assert_eq!(pair.echo(&ctx, "x").unwrap(), "x");
        }
        pair.end().unwrap();
    });
}

#[test]
fn on_many_connections() {
    patiently(|| {
        let pairs: Vec<_> = (0..50).map(|_| Pair::new()).collect();
        let ctx = within(20_000);
        let call = |pair: &Pair| start(&pair.client, &ctx, "sleep 20");
        let calls: Vec<_> = pairs.iter().map(call).collect();
        for call in calls.into_iter().rev() {
            assert_eq!(call.wait().unwrap(), "sleep 20");
        }
        pairs.into_iter().for_each(|pair| pair.end().unwrap());
    });
}

#[test]
fn by_one_thread_and_waited_for_by_others() {
    patiently(|| {
        let pair = Pair::new();
        thread::scope(|scope| {
            for n in 0..200 {
                let call = start(&pair.client, &Context::new(), bytes(n));
                scope.spawn(move || assert_eq!(number(&call.wait().unwrap()), n));
                if n % 3 == 0 {
                    assert_eq!(number(&pair.echo(&Context::new(), bytes(n)).unwrap()), n);
                }
            }
        });
        pair.end().unwrap();
    });
}

#[test]
fn while_other_threads_call() {
    patiently(|| {
        let pair = Pair::new();
        thread::scope(|scope| {
            for thread in 0..8 {
                let client = &pair.client;
                scope.spawn(move || {
                    let ctx = Context::new();
                    for n in (0..500).map(|n| n * 8 + thread) {
                        let begun = (thread % 2 == 0).then(|| start(client, &ctx, bytes(n + 1)));
                        assert_eq!(number(&client.echo(&ctx, bytes(n)).unwrap()), n);
                        if let Some(begun) = begun.filter(|_| n % 5 > 0) {
                            assert_eq!(number(&begun.wait().unwrap()), n + 1);
                        }
                    }
                });
            }
        });
        pair.end().unwrap();
    });
}

/// Of many sizes, with and without a deadline, in any order, over small buffers.
#[test]
fn by_many_threads_in_every_way() {
    patiently(|| {
        let (here, there) = UnixStream::pair().unwrap();
        let small = |socket: &UnixStream| SockRef::from(socket).set_send_buffer_size(4096);
        small(&here).unwrap();
        small(&there).unwrap();
        let server = Server::builder().service(Echo).build().unwrap();
        let serving = thread::spawn(move || server.serve_connection(there));
        let client = Client::new(here).unwrap();
        thread::scope(|scope| {
            for thread in 1..6 {
                let client = &client;
                scope.spawn(move || {
                    let mut calls = Vec::new();
                    let mut state = u64::wrapping_mul(thread, 0x9e37_79b9_7f4a_7c15);
                    for _ in 0..300 {
                        let number = random(&mut state);
                        let len = [0, 30, 3000, 40_000][number as usize % 4];
                        let request = Bytes::from(vec![number as u8; len]);
                        let ctx = match number >> 8 & 3 {
                            0 => within(number >> 10 & 7),
                            _ => Context::new(),
                        };
                        let at = (number >> 16) as usize % (calls.len() + 1);
                        calls.insert(at, (start(client, &ctx, request.clone()), request));
                        while calls.len() as u64 > number >> 32 & 31 {
                            match (calls.pop(), number >> 40 & 3) {
                                (Some((call, _)), 0) => drop(call),
                                (Some((call, request)), _) => match call.wait() {
                                    Ok(reply) => assert_eq!(reply, request),
                                    Err(error) => assert!(error.is_timeout(), "{error}"),
                                },
                                (None, _) => {}
                            }
                        }
                    }
                });
            }
        });
        assert_eq!(client.echo(&Context::new(), "x").unwrap(), "x");
        drop(client);
        // Answers that nobody waits for any more may be left unread.
        drop(serving.join().unwrap());
    });
}

#[test]
fn of_which_one_runs_out_of_time() {
    patiently(|| {
        let pair = Pair::new();
        let none = start(&pair.client, &within(0), "x");
        let slow = start(&pair.client, &within(50), "wait forever");
        let other = start(&pair.client, &Context::new(), "x");
        assert!(slow.wait().unwrap_err().is_timeout());
        assert_eq!(other.wait().unwrap(), "x");
        assert!(none.wait().unwrap_err().is_timeout());
    });
}

/// Nobody reads while nobody waits, and still a reply that came in time is one.
#[test]
fn whose_time_has_passed_by_when_they_are_waited_for() {
    patiently(|| {
        let (client, mut peer) = by_hand();
        let ctx = within(500);
        let mut calls: Vec<_> = (0..10).map(|_| start(&client, &ctx, "x")).collect();
        // More than is read at once.
        (1..calls.len()).for_each(|_| reply(&mut peer, 12_000));
        until(|| ctx.time_left() == Some(Duration::ZERO));
        let unanswered = calls.pop().unwrap();
        assert!(unanswered.wait().unwrap_err().is_timeout());
        for call in calls {
            assert_eq!(call.wait().unwrap().len(), 12_000);
        }
    });
}

/// Whoever looks for one of them, or reads for something else, gives none of the others up.
#[test]
fn whose_time_has_passed_by_when_several_threads_look() {
    patiently(|| {
        let (client, mut peer) = by_hand();
        let ctx = within(500);
        let calls: Vec<_> = (0..10).map(|_| start(&client, &ctx, "x")).collect();
        (0..calls.len()).for_each(|_| reply(&mut peer, 12_000));
        until(|| ctx.time_left() == Some(Duration::ZERO));
        thread::scope(|scope| {
            scope.spawn(|| client.echo(&within(1), "x").unwrap_err());
            for call in calls {
                scope.spawn(|| assert_eq!(call.wait().unwrap().len(), 12_000));
            }
        });
    });
}

#[test]
fn that_are_cancelled() {
    patiently(|| {
        let (client, mut peer) = by_hand();
        let (ctx, canceller) = Context::new().with_cancel();
        let (waits, later) = (start(&client, &ctx, "x"), start(&client, &ctx, "x"));
        let other = start(&client, &Context::new(), "x");
        let waits = thread::spawn(move || waits.wait());
        // It may have begun to wait by now, or is about to.
        thread::sleep(Duration::from_millis(30));
        canceller.cancel();
        assert!(waits.join().unwrap().unwrap_err().is_cancelled());
        assert!(later.wait().unwrap_err().is_cancelled());
        (0..3).for_each(|_| reply(&mut peer, 200));
        assert_eq!(other.wait().unwrap().len(), 200);
        assert_eq!(waiting(&peer.0), 0);
        let none = start(&client, &ctx, "x");
        assert!(none.wait().unwrap_err().is_cancelled());
        assert_eq!(waiting(&peer.0), 0);
    });
}

/// The server leaves requests unread while its replies are not taken, and nobody takes any
/// before all are begun.
#[test]
fn more_than_a_server_takes_at_once() {
    patiently(|| {
        let mut limits = Limits::default();
        (limits.output_bytes, limits.backlog_bytes) = (1000, 1000);
        let pair = Pair::with(|server| server.limits(limits), |client| client);
        let request = Bytes::from(vec![1; 5000]);
        let call = |_| start(&pair.client, &Context::new(), request.clone());
        let calls: Vec<_> = (0..1000).map(call).collect();
        for (n, call) in calls.into_iter().enumerate() {
            if n % 4 > 0 {
                assert_eq!(call.wait().unwrap(), request);
            }
        }
        pair.end().unwrap();
    });
}

#[test]
fn more_than_a_peer_takes_at_all() {
    patiently(|| {
        let (client, peer) = by_hand();
        let request = Bytes::from(vec![1; 5000]);
        let call = |_| start(&client, &within(50), request.clone());
        let mut calls: Vec<_> = (0..1000).map(call).collect();
        assert!(calls.remove(500).wait().unwrap_err().is_timeout());
        calls.truncate(500);
        drop(peer);
        let others = calls.into_iter().map(|call| call.wait().unwrap_err());
        assert!(others.into_iter().all(|error| error.is_timeout()));
    });
}

#[test]
fn whose_connection_ends() {
    patiently(|| {
        let (client, peer) = by_hand();
        let ctx = Context::new();
        let calls: Vec<_> = (0..10).map(|_| start(&client, &ctx, "x")).collect();
        drop(peer);
        let after = start(&client, &ctx, "x");
        for call in calls.into_iter().chain([after, start(&client, &ctx, "x")]) {
            let error = call.wait().unwrap_err();
            assert!(error.is_closed() || error.is_io(), "{error}");
        }
    });
}

#[test]
fn keep_their_connection() {
    patiently(|| {
        let pair = Pair::new();
        let call = start(&pair.client, &Context::new(), "sleep 20");
        let client = pair.client.clone();
        let ends = thread::spawn(|| pair.end());
        drop(client);
        assert_eq!(call.wait().unwrap(), "sleep 20");
        ends.join().unwrap().unwrap();
    });
}

/// Encodes nothing but small messages, and decodes none that are empty.
struct Choosy;

impl Codec<Bytes> for Choosy {
    fn encoded_len(message: &Bytes) -> Result<usize, CodecError> {
        match message.len() {
            len if len < 100 => Ok(len),
            _ => Err(CodecError::new("too much")),
        }
    }

    fn encode(message: &Bytes, buffer: &mut Buffer) {
        buffer.put_bytes(message);
    }

    fn decode(payload: Bytes) -> Result<Bytes, CodecError> {
        match payload.len() {
            0 => Err(CodecError::new("too little")),
            _ => Ok(payload),
        }
    }
}

#[test]
fn whose_messages_are_not_to_be_had() {
    patiently(|| {
        let pair = Pair::new();
        let ctx = Context::new();
        let choosy = Method::<Choosy, Bytes, Bytes>::new("test.Echo", "Unary");
        let call = |len| pair.client.start(&ctx, choosy, vec![1; len].into());
        let (small, much, little) = (call(1), call(100), call(0));
        let large = start(&pair.client, &ctx, vec![1; 5 << 20]);
        assert_eq!(large.wait().unwrap_err().code(), Code::RESOURCE_EXHAUSTED);
        assert!(
            little
                .wait()
                .unwrap_err()
                .to_string()
                .contains("too little")
        );
        assert!(much.wait().unwrap_err().to_string().contains("too much"));
        assert_eq!(small.wait().unwrap().len(), 1);
        let failed = start(&pair.client, &ctx, "fail so");
        assert_eq!(failed.wait().unwrap_err().status().unwrap().message, "so");
        pair.end().unwrap();
    });
}

/// Counts the calls that are over, and lets none through that says no.
struct Counts(Arc<AtomicUsize>);

impl Interceptor for Counts {
    fn intercept(&self, call: Invocation, next: Next) -> Result<Body> {
        let says_no = matches!(&call.body, Body::One(request) if request == "no");
        let outcome = match says_no {
            true => Err(Error::from(ttrpc_runtime::Status::aborted("no"))),
            false => next.run(call),
        };
        self.0.fetch_add(1, Ordering::Relaxed);
        outcome
    }
}

#[test]
fn through_interceptors_are_over_at_once() {
    patiently(|| {
        let count = Arc::new(AtomicUsize::new(0));
        let counts = Counts(Arc::clone(&count));
        let pair = Pair::with(|server| server, |client| client.interceptor(counts));
        let yes = start(&pair.client, &Context::new(), "yes");
        let no = start(&pair.client, &Context::new(), "no");
        drop(start(&pair.client, &Context::new(), "dropped"));
        assert_eq!(count.load(Ordering::Relaxed), 3);
        assert_eq!(no.wait().unwrap_err().status().unwrap().message, "no");
        assert_eq!(yes.wait().unwrap(), "yes");
        pair.end().unwrap();
    });
}

#[test]
fn reconnect_if_asked_to() {
    patiently(|| {
        let (server, path, serving) = serve(Server::builder());
        let client = Client::builder().reconnect(true).connect(&path).unwrap();
        let lost = start(&client, &Context::new(), "wait forever");
        assert_eq!(client.echo(&Context::new(), "x").unwrap(), "x");
        server.close();
        serving.join().unwrap().unwrap();
        let nowhere = start(&client, &Context::new(), "x");
        let server = Server::builder().service(Echo).build().unwrap();
        let (serves, listener) = (server.clone(), Listener::bind(&path).unwrap());
        let serving = thread::spawn(move || serves.serve(listener));
        let again = start(&client, &Context::new(), "again");
        assert_eq!(again.wait().unwrap(), "again");
        assert!(lost.wait().unwrap_err().is_closed());
        assert!(nowhere.wait().is_err());
        drop(client);
        server.close();
        serving.join().unwrap().unwrap();
    });
}

/// A server that answers and goes away has answered, also where the client finds that out as it
/// writes the next request: while nobody reads, and while another thread does.
#[test]
fn a_reply_counts_though_the_server_has_gone_by_the_next_request() {
    patiently(|| {
        for reads in [false, true] {
            let (client, mut peer) = by_hand();
            let ctx = Context::new();
            let first = start(&client, &ctx, "first");
            let begun = Arc::new(AtomicUsize::new(0));
            let wait = {
                let begun = Arc::clone(&begun);
                move || {
                    begun.store(1, Ordering::SeqCst);
                    first.wait()
                }
            };
            let (now, later) = match reads {
                true => (Some(thread::spawn(wait)), None),
                false => (None, Some(wait)),
            };
            until(|| !reads || begun.load(Ordering::SeqCst) == 1);
            reply(&mut peer, 200);
            drop(peer);
            let second = start(&client, &ctx, "second");
            let now = now.map(|thread| thread.join().unwrap());
            let first = now.or_else(|| later.map(|wait| wait())).unwrap();
            assert_eq!(first.unwrap().len(), 200);
            second.wait().unwrap_err();
            client.closed();
        }
    });
}
