//! Calls that are given up: by their context, or by dropping what they gave.

use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use ttrpc_runtime::blocking::{
    Body, Call, Client, Interceptor, Invocation, Next, Sender, Streaming,
};
use ttrpc_runtime::codec::Raw;
use ttrpc_runtime::{Context, Error, Result};

use crate::support::{Calls, Custom, PATIENCE, Pair, patiently, until, waiting};

/// A client whose peer says nothing and does not read.
fn ignored() -> (Client, UnixStream) {
    let (here, there) = UnixStream::pair().unwrap();
    (Client::new(here).unwrap(), there)
}

fn endless() -> impl Iterator<Item = Bytes> {
    std::iter::repeat_with(|| Bytes::from(vec![1; 60_000]))
}

/// Begins something that is cancelled once `begun`; it has to end by that.
fn is_cancelled<T>(begun: impl Fn() -> bool, f: impl FnOnce(&Context) -> Result<T> + Send) {
    let (ctx, canceller) = Context::new().with_cancel();
    let outcome = thread::scope(|scope| {
        let works = scope.spawn(|| f(&ctx).err());
        until(begun);
        // It may have begun to wait by now, or is about to.
        thread::sleep(Duration::from_millis(30));
        canceller.cancel();
        works.join().unwrap()
    });
    let error = outcome.unwrap();
    assert!(error.is_cancelled(), "{error}");
}

#[test]
fn a_unary_call_that_waits_for_its_reply() {
    patiently(|| {
        let (client, there) = ignored();
        is_cancelled(|| waiting(&there) > 0, |ctx| client.echo(ctx, "hello"));
        let one = waiting(&there);
        thread::scope(|scope| {
            let reads = scope.spawn(|| client.echo(&Context::new(), "reads"));
            until(|| waiting(&there) > one);
            let two = waiting(&there);
            is_cancelled(|| waiting(&there) > two, |ctx| client.echo(ctx, "hello"));
            drop(there);
            assert!(reads.join().unwrap().unwrap_err().is_closed());
        });
    });
}

#[test]
fn a_unary_call_that_is_being_written() {
    patiently(|| {
        let (client, there) = ignored();
        let request = Bytes::from(vec![1; 4_000_000]);
        is_cancelled(|| waiting(&there) > 1000, |ctx| client.echo(ctx, request));
    });
}

#[test]
fn streams_that_are_read() {
    patiently(|| {
        let (client, there) = ignored();
        let begun = || waiting(&there) > 0;
        is_cancelled(begun, |ctx| client.numbers(ctx, 3)?.message());
        is_cancelled(begun, |ctx| {
            let (_sender, requests) = Streaming::channel(1);
            client.sum(ctx, requests)
        });
        is_cancelled(begun, |ctx| {
            let (_sender, requests) = Streaming::channel(1);
            client.chat(ctx, requests)?.message()
        });
    });
}

#[test]
fn streams_that_are_sent() {
    patiently(|| {
        let full = |there: &UnixStream| waiting(there) > 100_000;
        let (client, there) = ignored();
        is_cancelled(
            || full(&there),
            |ctx| client.sum(ctx, Streaming::from_iter(endless())),
        );
        let (client, there) = ignored();
        is_cancelled(
            || full(&there),
            |ctx| client.chat(ctx, Streaming::from_iter(endless()))?.message(),
        );
        let (client, there) = ignored();
        is_cancelled(
            || full(&there),
            |ctx| {
                let send = |sender: Sender<Bytes>| endless().try_for_each(|m| sender.send(m));
                client.sum(ctx, Streaming::produce(send))
            },
        );
        let (client, there) = ignored();
        is_cancelled(
            || full(&there),
            |ctx| {
                let (sender, requests) = Streaming::channel(1);
                let _replies = client.chat(ctx, requests)?;
                endless().try_for_each(|message| sender.send(message))
            },
        );
    });
}

/// A blocked sender learns that the other half is gone.
#[test]
fn a_stream_whose_replies_are_dropped() {
    patiently(|| {
        let (client, there) = ignored();
        let (sender, requests) = Streaming::channel(1);
        let replies = client.chat(&Context::new(), requests).unwrap();
        let sends = thread::spawn(move || endless().try_for_each(|message| sender.send(message)));
        until(|| waiting(&there) > 100_000);
        thread::sleep(Duration::from_millis(30));
        drop(replies);
        assert!(sends.join().unwrap().unwrap_err().is_cancelled());
    });
}

/// One sender ends the stream, the other one is blocked.
#[test]
fn a_stream_that_another_sender_ends() {
    patiently(|| {
        let (client, there) = ignored();
        let (sender, requests) = Streaming::channel(1);
        let mut replies = client.chat(&Context::new(), requests).unwrap();
        let other = sender.clone();
        let sends = thread::spawn(move || endless().try_for_each(|message| sender.send(message)));
        until(|| waiting(&there) > 100_000);
        thread::sleep(Duration::from_millis(30));
        let no: Error = ttrpc_runtime::Status::aborted("no").into();
        other.finish(Err(no));
        assert!(sends.join().unwrap().unwrap_err().is_cancelled());
        let error = replies.message().unwrap_err();
        assert_eq!(error.status().unwrap().message, "no");
    });
}

/// What the client gives up ends at the server where that can be told: a stream of
/// requests closes, a connection ends.
#[test]
fn the_server_hears_of_it() {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let pair = Pair::custom(move |call| {
        let tell = tell.lock().unwrap().clone();
        match call.method() {
            "Chat" => call.bidi_streaming(Raw, move |_, requests: Streaming<Bytes>| {
                tell.send("begun").unwrap();
                let count = requests.map_while(Result::ok).count();
                tell.send("closed").unwrap();
                Ok(Streaming::from_iter([Bytes::from(count.to_string())]))
            }),
            _ => call.unary(Raw, move |ctx, request: Bytes| {
                tell.send("begun").unwrap();
                if ctx.wait_cancelled(PATIENCE / 2) {
                    tell.send("cancelled").unwrap();
                }
                Ok(request)
            }),
        }
    });
    let said = |what| assert_eq!(told.recv_timeout(PATIENCE).unwrap(), what);
    let (_sender, requests) = Streaming::<Bytes>::channel(1);
    let ctx = Context::new();
    let chat = pair
        .client
        .bidi_streaming::<_, _, Bytes>(Raw, &ctx, "test.Custom", "Chat", requests)
        .unwrap();
    said("begun");
    drop(chat);
    said("closed");
    let client = pair.client.clone();
    let call = thread::spawn(move || client.custom(&Context::new(), "Unary", "x"));
    said("begun");
    pair.server.close();
    said("cancelled");
    assert!(call.join().unwrap().unwrap_err().is_closed());
    pair.end().unwrap();
}

#[test]
fn by_an_extension_the_server_hears_of_every_call() {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let service = crate::support::Custom(move |call: ttrpc_runtime::blocking::Call| {
        let tell = tell.lock().unwrap().clone();
        call.unary(Raw, move |ctx, request: Bytes| {
            tell.send("begun").unwrap();
            if ctx.wait_cancelled(PATIENCE / 2) {
                tell.send("cancelled").unwrap();
            }
            Ok(request)
        })
    });
    let pair = Pair::with(
        |server| server.service(service),
        |client| client.send_cancel(true),
    );
    let (ctx, canceller) = Context::new().with_cancel();
    let client = pair.client.clone();
    let call = thread::spawn(move || client.custom(&ctx, "Unary", "x"));
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "begun");
    canceller.cancel();
    assert!(call.join().unwrap().unwrap_err().is_cancelled());
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "cancelled");
    pair.end().unwrap();
}

#[test]
fn before_it_begins_nothing_is_sent() {
    let (client, there) = ignored();
    let (ctx, canceller) = Context::new().with_cancel();
    canceller.cancel();
    assert!(client.echo(&ctx, "x").unwrap_err().is_cancelled());
    let error = client.sum(&ctx, Streaming::from_iter(endless()));
    assert!(error.unwrap_err().is_cancelled());
    assert_eq!(waiting(&there), 0);
}

/// Gives each call a context that several calls have.
struct Shares(Context);

impl Interceptor for Shares {
    fn intercept(&self, mut call: Invocation, next: Next) -> Result<Body> {
        call.ctx = self.0.clone();
        next.run(call)
    }
}

#[test]
fn a_handler_that_ends_cancels_its_own_context_alone() {
    patiently(|| {
        let (shared, canceller) = Context::new().with_cancel();
        for shared in [shared.clone(), Context::new()] {
            let kept = Arc::new(Mutex::new(None));
            let keeps = Arc::clone(&kept);
            let keep = Custom(move |call: Call| {
                let kept = Arc::clone(&keeps);
                call.unary(Raw, move |ctx, request: Bytes| {
                    assert!(!ctx.is_cancelled());
                    *kept.lock().unwrap() = Some(ctx.clone());
                    Ok(request)
                })
            });
            let shares = Shares(shared.clone());
            let pair = Pair::with(
                |server| server.service(keep).interceptor(shares),
                |client| client,
            );
            for _ in 0..2 {
                pair.custom(&Context::new(), "Keep", "x").unwrap();
                assert!(kept.lock().unwrap().take().unwrap().is_cancelled());
                assert!(!shared.is_cancelled());
            }
            pair.end().unwrap();
        }
        canceller.cancel();
        assert!(shared.is_cancelled());
    });
}
