//! Streams that end early, fail, pass through proxies and interceptors.

use std::os::unix::net::UnixStream;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use ttrpc_runtime::blocking::{
    Body, Call, Client, Interceptor, Invocation, Next, Reply, Sender, Server, Streaming,
};
use ttrpc_runtime::codec::Raw;
use ttrpc_runtime::{Code, Context, Error, Result, Status};

use crate::ends::serve;
use crate::support::{
    Calls, Custom, PATIENCE, Pair, alone, bytes, number, patiently, threads, until,
};

fn endless() -> impl Iterator<Item = Bytes> + Send {
    std::iter::repeat_with(|| Bytes::from(vec![1; 1000]))
}

/// Ends each call after its first request.
fn hasty(call: Call) -> Reply {
    match call.method() {
        "Sum" => call.client_streaming(Raw, |_, mut requests: Streaming<Bytes>| {
            Ok(requests.message()?.unwrap_or_default())
        }),
        "Fail" => call.client_streaming(Raw, |_, _: Streaming<Bytes>| -> Result<Bytes> {
            Err(Status::aborted("enough").into())
        }),
        _ => call.bidi_streaming(Raw, |_, mut requests: Streaming<Bytes>| {
            Ok(Streaming::from_iter(requests.message()?))
        }),
    }
}

#[test]
fn that_the_server_ends_early_stop_their_senders() {
    patiently(|| {
        let pair = Pair::custom(hasty);
        let ctx = Context::new();
        let sum = |method: &str, requests| -> Result<Bytes> {
            let client = &pair.client;
            client.client_streaming(Raw, &ctx, "test.Custom", method, requests)
        };
        let produced =
            || Streaming::produce(|s: Sender<Bytes>| endless().try_for_each(|m| s.send(m)));
        for _ in 0..20 {
            assert_eq!(
                sum("Sum", Streaming::from_iter(endless())).unwrap().len(),
                1000
            );
            assert_eq!(sum("Sum", produced()).unwrap().len(), 1000);
            let error = sum("Fail", produced()).unwrap_err();
            assert_eq!(error.status(), Some(&Status::aborted("enough")));
            let (sender, requests) = Streaming::channel(1);
            let sends = thread::spawn(move || endless().try_for_each(|m| sender.send(m)));
            assert_eq!(sum("Sum", requests).unwrap().len(), 1000);
            assert!(sends.join().unwrap().unwrap_err().is_cancelled());
            for requests in [Streaming::from_iter(endless()), produced()] {
                let client = &pair.client;
                let replies: Result<Streaming<Bytes>> =
                    client.bidi_streaming(Raw, &ctx, "test.Custom", "Chat", requests);
                assert_eq!(replies.unwrap().map(Result::unwrap).count(), 1);
            }
        }
        assert_eq!(pair.echo(&ctx, "goes on").unwrap(), "goes on");
        pair.end().unwrap();
    });
}

/// Also of those who take so long for each request that the socket always has room for it.
#[test]
fn that_the_server_ends_early_stop_senders_that_are_slow() {
    patiently(|| {
        let pair = Pair::custom(hasty);
        let requests = Streaming::produce(|sender| {
            loop {
                sender.send(bytes(1))?;
                thread::sleep(Duration::from_millis(1));
            }
        });
        let sum: Result<Bytes> =
            (pair.client).client_streaming(Raw, &Context::new(), "test.Custom", "Sum", requests);
        assert_eq!(sum.unwrap(), bytes(1));
        // By then the server has refused the requests that came too late.
        assert_eq!(pair.echo(&Context::new(), "goes on").unwrap(), "goes on");
        pair.end().unwrap();
    });
}

/// What the socket does not take at once is not kept until the next request comes, whether
/// anybody reads the replies or not.
#[test]
fn of_requests_that_take_their_time_bring_the_whole_of_each() {
    struct Through;

    impl Interceptor for Through {
        fn intercept(&self, call: Invocation, next: Next) -> Result<Body> {
            next.run(call)
        }
    }

    patiently(|| {
        for is_intercepted in [false, true] {
            let (tell, told) = mpsc::channel();
            let answer = move |call: Call| {
                let tell = tell.clone();
                call.bidi_streaming(Raw, move |_, mut requests: Streaming<Bytes>| {
                    tell.send(requests.message()?.unwrap_or_default().len())
                        .unwrap();
                    Ok(requests)
                })
            };
            let pair = Pair::with(
                |server| server.service(Custom(answer)),
                |client| match is_intercepted {
                    true => client.interceptor(Through),
                    false => client,
                },
            );
            let (sender, next) = mpsc::channel();
            let replies: Streaming<Bytes> = (pair.client)
                .bidi_streaming(
                    Raw,
                    &Context::new(),
                    "test.Custom",
                    "Chat",
                    Streaming::from_iter(next),
                )
                .unwrap();
            sender.send(Bytes::from(vec![1; 4_000_000])).unwrap();
            assert_eq!(told.recv().unwrap(), 4_000_000);
            drop(sender);
            assert_eq!(replies.count(), 0);
            pair.end().unwrap();
        }
    });
}

#[test]
fn of_requests_that_fail_end_the_call_with_that_error() {
    patiently(|| {
        let pair = Pair::new();
        let ctx = Context::new();
        let broken = || {
            let error: Error = Status::data_loss("broken").into();
            Streaming::from_results([Ok(bytes(1)), Err(error), Ok(bytes(2))])
        };
        let is_broken =
            |error: Error| assert_eq!(error.status(), Some(&Status::data_loss("broken")));
        is_broken(pair.sum(&ctx, broken()).unwrap_err());
        let replies = pair.chat(&ctx, broken()).unwrap();
        is_broken(replies.filter_map(Result::err).next().unwrap());
        let produced = Streaming::produce(|sender| {
            sender.send(bytes(1))?;
            Err(Status::data_loss("broken").into())
        });
        is_broken(pair.sum(&ctx, produced).unwrap_err());
        let panics = Streaming::produce(|_: Sender<Bytes>| panic!("as it should"));
        let replies = pair.chat(&ctx, panics).unwrap();
        let error = replies.filter_map(Result::err).next().unwrap();
        assert_eq!(error.code(), Code::INTERNAL);
        assert_eq!(pair.echo(&ctx, "goes on").unwrap(), "goes on");
        pair.end().unwrap();
    });
}

/// What comes before an error has come, however many messages are sent together.
#[test]
fn of_replies_that_fail_bring_those_before() {
    patiently(|| {
        let pair = Pair::custom(|call: Call| match call.method() {
            "Fail" => call.server_streaming(Raw, |_, request: Bytes| {
                let error: Error = Status::data_loss("broken").into();
                let replies: Vec<_> = (0..number(&request)).map(|n| Ok(bytes(n))).collect();
                let behind = [Err(error), Ok(bytes(0))];
                Ok(Streaming::from_results(replies.into_iter().chain(behind)))
            }),
            "Panic" => call.server_streaming(Raw, |_, request: Bytes| {
                let count = number(&request);
                let reply = move |n| match n == count {
                    true => panic!("as it should"),
                    false => bytes(n),
                };
                Ok(Streaming::from_iter((0..count + 2).map(reply)))
            }),
            _ => call.server_streaming(Raw, |_, request: Bytes| {
                let count = number(&request);
                let reply = move |n| match n == count {
                    true => Bytes::from(vec![0; (4 << 20) + 1]),
                    false => bytes(n),
                };
                Ok(Streaming::from_iter((0..count + 2).map(reply)))
            }),
        });
        let ends = [
            ("Fail", Code::DATA_LOSS),
            ("Panic", Code::INTERNAL),
            ("Large", Code::RESOURCE_EXHAUSTED),
        ];
        for (method, code) in ends {
            for count in [0, 1, 2, 3, 100, 5000] {
                let ctx = Context::new();
                let client = &pair.client;
                let replies: Result<Streaming<Bytes>> =
                    client.server_streaming(Raw, &ctx, "test.Custom", method, bytes(count));
                let mut replies = replies.unwrap();
                for n in 0..count {
                    assert_eq!(number(&replies.message().unwrap().unwrap()), n, "{method}");
                }
                let error = replies.message().unwrap_err();
                assert_eq!(error.code(), code, "{method} after {count}");
            }
        }
        pair.end().unwrap();
    });
}

#[test]
fn that_nobody_sends() {
    patiently(|| {
        let produced =
            Streaming::produce(|sender| (0..1000).try_for_each(|n| sender.send(bytes(n))));
        assert!(produced.map(|n| number(&n.unwrap())).eq(0..1000));
        let (sender, mut streaming) = Streaming::channel(3);
        (0..3).for_each(|n| sender.send(n).unwrap());
        assert_eq!(streaming.message().unwrap(), Some(0));
        let sends = thread::spawn(move || (3..9).try_for_each(|n| sender.send(n)));
        assert!(streaming.map(Result::unwrap).eq(1..9));
        sends.join().unwrap().unwrap();
        // What was sent before the stream belongs to a call comes first.
        let pair = Pair::new();
        let (sender, requests) = Streaming::channel(4);
        (0..4).for_each(|n| sender.send(bytes(n)).unwrap());
        let replies = pair.chat(&Context::new(), requests).unwrap();
        (4..8).for_each(|n| sender.send(bytes(n)).unwrap());
        drop(sender);
        assert!(replies.map(|n| number(&n.unwrap())).eq(0..8));
        pair.end().unwrap();
    });
}

/// Passes every call on to another server.
fn proxy(upstream: Client) -> impl Fn(Call) -> Reply {
    const TO: &str = "test.Echo";
    move |call| {
        let up = upstream.clone();
        match call.method() {
            "Unary" => call.unary(Raw, move |ctx, r: Bytes| -> Result<Bytes> {
                up.unary(Raw, &ctx, TO, "Unary", r)
            }),
            "Numbers" => call.server_streaming(Raw, move |ctx, r: Bytes| {
                up.server_streaming::<_, _, Bytes>(Raw, &ctx, TO, "Numbers", r)
            }),
            "Sum" => call.client_streaming(Raw, move |ctx, r: Streaming<Bytes>| -> Result<Bytes> {
                up.client_streaming(Raw, &ctx, TO, "Sum", r)
            }),
            _ => call.bidi_streaming(Raw, move |ctx, r: Streaming<Bytes>| {
                up.bidi_streaming::<_, _, Bytes>(Raw, &ctx, TO, "Chat", r)
            }),
        }
    }
}

const AT: &str = "test.Custom";

#[test]
fn through_a_proxy() {
    patiently(|| {
        let upstream = Pair::new();
        let pair = Pair::custom(proxy(upstream.client.clone()));
        let (client, ctx) = (&pair.client, Context::new());
        for _ in 0..5 {
            assert_eq!(pair.custom(&ctx, "Unary", "hello").unwrap(), "hello");
            let numbers: Result<Streaming<Bytes>> =
                client.server_streaming(Raw, &ctx, AT, "Numbers", bytes(5000));
            assert!(numbers.unwrap().map(|n| number(&n.unwrap())).eq(0..5000));
            let requests = Streaming::from_iter((0..5000).map(bytes));
            let sum: Bytes = client
                .client_streaming(Raw, &ctx, AT, "Sum", requests)
                .unwrap();
            assert_eq!(number(&sum), (0..5000).sum());
            let requests = Streaming::from_iter((0..5000).map(bytes));
            let chat: Result<Streaming<Bytes>> =
                client.bidi_streaming(Raw, &ctx, AT, "Chat", requests);
            assert!(chat.unwrap().map(|n| number(&n.unwrap())).eq(0..5000));
        }
        let late = ctx.with_timeout(Duration::from_millis(50));
        let error = pair.custom(&late, "Unary", "wait x").unwrap_err();
        assert!(error.is_timeout(), "{error}");
        // A late answer may be left unread.
        drop(pair.end());
        drop(upstream.end());
    });
}

/// An idle subscription is given up at both connections when its client vanishes.
#[test]
fn through_a_proxy_whose_client_vanishes() {
    alone("streams::through_a_proxy_whose_client_vanishes", || {
        let (up, up_path, up_serving) = serve(Server::builder());
        let base = threads();
        let upstream = Client::connect(&up_path).unwrap();
        let service = Custom(proxy(upstream.clone()));
        let (server, path, serving) = serve(Server::builder().service(service));
        let mut left = Vec::new();
        for _ in 0..5 {
            let socket = UnixStream::connect(&path).unwrap();
            let spare = socket.try_clone().unwrap();
            let client = Client::new(socket).unwrap();
            let (sender, requests) = Streaming::channel(1);
            let mut chat = client
                .bidi_streaming::<_, Bytes, Bytes>(Raw, &Context::new(), AT, "Chat", requests)
                .unwrap();
            sender.send(bytes(1)).unwrap();
            assert_eq!(chat.message().unwrap(), Some(bytes(1)));
            // As when its process is killed: nothing is said.
            spare.shutdown(std::net::Shutdown::Both).unwrap();
            left.push((sender, chat));
        }
        until(|| format!("{server:?}").contains("connections: 0"));
        // Beside those that serve and watch none is left, of either server.
        until(|| threads() == base + 1);
        server.close();
        serving.join().unwrap().unwrap();
        drop((upstream, left));
        up.shutdown(Duration::MAX);
        up_serving.join().unwrap().unwrap();
    });
}

/// Lets everything pass, and writes down that it did.
struct Tag(&'static str);

impl Interceptor for Tag {
    fn intercept(&self, mut call: Invocation, next: Next) -> Result<Body> {
        call.ctx.metadata_mut().append("seen-by", self.0);
        next.run(call)
    }
}

#[test]
fn through_interceptors_on_both_sides() {
    patiently(|| {
        let tell = |call: Call| {
            call.unary(Raw, |ctx, _: Bytes| {
                let seen: Vec<_> = ctx.metadata().iter().map(|(_, v)| v.to_owned()).collect();
                Ok(Bytes::from(seen.join(" ")))
            })
        };
        let pair = Pair::with(
            |server| {
                server
                    .service(Custom(tell))
                    .interceptor(Tag("c"))
                    .interceptor(Tag("d"))
            },
            |client| client.interceptor(Tag("a")).interceptor(Tag("b")),
        );
        let ctx = Context::new();
        assert_eq!(pair.custom(&ctx, "Any", "").unwrap(), "a b c d");
        assert_eq!(pair.numbers(&ctx, 3000).unwrap().count(), 3000);
        let requests = Streaming::from_iter((0..3000).map(bytes));
        assert_eq!(pair.sum(&ctx, requests).unwrap(), (0..3000).sum());
        let requests = Streaming::from_iter((0..3000).map(bytes));
        let chat = pair.chat(&ctx, requests).unwrap();
        assert!(chat.map(|n| number(&n.unwrap())).eq(0..3000));
        let error = pair.echo(&ctx, "panic now").unwrap_err();
        assert_eq!(error.code(), Code::INTERNAL);
        pair.end().unwrap();
    });
}

/// A handler may leave the requests to a thread that outlives it.
#[test]
fn of_requests_that_another_thread_reads_end_with_the_call() {
    patiently(|| {
        for after in [0, 1, 30] {
            let (tell, told) = mpsc::channel();
            let tell = Mutex::new(tell);
            let pair = Pair::custom(move |call| {
                let tell = tell.lock().unwrap().clone();
                call.client_streaming(Raw, move |_, mut requests: Streaming<Bytes>| {
                    thread::spawn(move || tell.send(requests.message()).unwrap());
                    thread::sleep(Duration::from_millis(after));
                    Ok(Bytes::new())
                })
            });
            let (sender, requests) = Streaming::channel(1);
            let client = &pair.client;
            let reply: Result<Bytes> =
                client.client_streaming(Raw, &Context::new(), "test.Custom", "Any", requests);
            assert_eq!(reply.unwrap(), "");
            assert!(told.recv_timeout(PATIENCE).unwrap().is_err());
            drop(sender);
            pair.end().unwrap();
        }
    });
}

/// Makes requests into what its value says.
struct Change(fn() -> Body);

impl Interceptor for Change {
    fn intercept(&self, mut call: Invocation, next: Next) -> Result<Body> {
        call.body = (self.0)();
        next.run(call)
    }
}

/// A single message is a stream of one, also an empty one; a stream is no single message.
#[test]
fn of_requests_that_an_interceptor_of_the_client_changed() {
    patiently(|| {
        let count = |call: Call| match call.method() {
            "One" => call.unary(Raw, |_, request: Bytes| Ok(request)),
            _ => call.client_streaming(Raw, |_, requests: Streaming<Bytes>| {
                Ok(Bytes::from(requests.count().to_string()))
            }),
        };
        for (body, received) in [
            ((|| Body::One(Bytes::new())) as fn() -> Body, "1"),
            (|| Body::One(Bytes::from_static(b"x")), "1"),
            (|| Body::Stream(Streaming::from_iter([])), "0"),
        ] {
            let pair = Pair::with(
                |server| server.service(Custom(count)),
                |client| client.interceptor(Change(body)),
            );
            let ctx = Context::new();
            let requests = Streaming::from_iter((0..3).map(bytes));
            let client = &pair.client;
            let counted: Result<Bytes> =
                client.client_streaming(Raw, &ctx, "test.Custom", "Count", requests);
            assert_eq!(counted.unwrap(), received);
            if received == "0" {
                assert!(pair.custom(&ctx, "One", "x").unwrap_err().is_protocol());
            }
            pair.end().unwrap();
        }
    });
}

/// A client may take a stream of requests for a single one, of which it has none to send.
#[test]
fn of_requests_that_an_empty_payload_is_none_of() {
    patiently(|| {
        let count = |call: Call| {
            call.client_streaming(Raw, |_, requests: Streaming<Bytes>| {
                Ok(Bytes::from(requests.count().to_string()))
            })
        };
        let ctx = Context::new();
        let plain = Pair::custom(count);
        let intercepted = Pair::with(
            |server| server.service(Custom(count)).interceptor(Tag("a")),
            |client| client,
        );
        for pair in [plain, intercepted] {
            for (payload, received) in [("", "0"), ("x", "1")] {
                let (client, payload) = (&pair.client, Bytes::from(payload));
                let mut replies: Streaming<Bytes> = client
                    .server_streaming(Raw, &ctx, "test.Custom", "Count", payload)
                    .unwrap();
                assert_eq!(replies.message().unwrap().unwrap(), received);
            }
            pair.end().unwrap();
        }
    });
}
