//! All four kinds of call, from one thread and from many.

use std::time::Duration;

use bytes::Bytes;
use ttrpc_runtime::blocking::Streaming;
use ttrpc_runtime::{Code, Context, Status};

use crate::support::{Calls, Pair, bytes, number, within};

#[test]
fn unary() {
    let pair = Pair::new();
    let ctx = Context::new();
    for _ in 0..100 {
        assert_eq!(pair.echo(&ctx, "hello").unwrap(), "hello");
    }
    let error = pair.echo(&ctx, "fail it").unwrap_err();
    assert_eq!(error.status(), Some(&Status::aborted("it")));
    pair.end().unwrap();
}

#[test]
fn server_streaming() {
    let pair = Pair::new();
    let ctx = Context::new();
    for count in [0, 1, 100_000] {
        let numbers = pair.numbers(&ctx, count).unwrap();
        let numbers = numbers.map(|n| number(&n.unwrap()));
        assert!(numbers.eq(0..count));
    }
    pair.end().unwrap();
}

#[test]
fn client_streaming() {
    let pair = Pair::new();
    let ctx = Context::new();
    for count in [0, 1, 100_000u64] {
        let sum: u64 = (0..count).sum();
        let numbers = Streaming::from_iter((0..count).map(bytes));
        assert_eq!(pair.sum(&ctx, numbers).unwrap(), sum);
        let numbers = Streaming::produce(move |sender| {
            (0..count).try_for_each(|number| sender.send(bytes(number)))
        });
        assert_eq!(pair.sum(&ctx, numbers).unwrap(), sum);
        let (sender, numbers) = Streaming::channel(1);
        let sends = std::thread::spawn(move || {
            (0..count).for_each(|number| sender.send(bytes(number)).unwrap());
        });
        assert_eq!(pair.sum(&ctx, numbers).unwrap(), sum);
        sends.join().unwrap();
    }
    pair.end().unwrap();
}

#[test]
fn bidi_streaming() {
    let pair = Pair::new();
    let ctx = Context::new();
    // Turn by turn, from one thread.
    let (sender, requests) = Streaming::channel(1);
    let mut replies = pair.chat(&ctx, requests).unwrap();
    for turn in 0..1000 {
        sender.send(bytes(turn)).unwrap();
        assert_eq!(replies.message().unwrap(), Some(bytes(turn)));
    }
    drop(sender);
    assert_eq!(replies.message().unwrap(), None);
    // Both ways at once.
    for count in [0, 1, 100_000] {
        let requests = Streaming::from_iter((0..count).map(bytes));
        let replies = pair.chat(&ctx, requests).unwrap();
        assert!(replies.map(|n| number(&n.unwrap())).eq(0..count));
        let requests = Streaming::produce(move |sender| {
            (0..count).try_for_each(|number| sender.send(bytes(number)))
        });
        let replies = pair.chat(&ctx, requests).unwrap();
        assert!(replies.map(|n| number(&n.unwrap())).eq(0..count));
    }
    pair.end().unwrap();
}

#[test]
fn large_messages() {
    let pair = Pair::new();
    let ctx = Context::new();
    for len in [60_000, 1 << 20, (4 << 20) - 100] {
        let message = Bytes::from(vec![7; len]);
        assert!(pair.echo(&ctx, message.clone()).unwrap() == message);
        let requests = Streaming::from_iter(vec![message.clone(); 5]);
        let replies = pair.chat(&ctx, requests).unwrap();
        assert_eq!(
            replies.filter(|m| m.as_ref().unwrap() == &message).count(),
            5
        );
    }
    let error = pair.echo(&ctx, Bytes::from(vec![7; 5 << 20])).unwrap_err();
    assert!(error.too_large_by().is_some());
    assert_eq!(pair.echo(&ctx, "goes on").unwrap(), "goes on");
    pair.end().unwrap();
}

#[test]
fn many_threads_share_a_connection() {
    let pair = Pair::new();
    std::thread::scope(|scope| {
        for thread in 0..16u64 {
            let pair = &pair;
            scope.spawn(move || {
                let ctx = Context::new();
                for call in 0..500 {
                    let request = bytes(thread * 1000 + call);
                    assert_eq!(pair.echo(&ctx, request.clone()).unwrap(), request);
                    if call % 100 == thread {
                        let numbers = pair.numbers(&ctx, 300).unwrap();
                        assert!(numbers.map(|n| number(&n.unwrap())).eq(0..300));
                    }
                }
            });
        }
    });
    pair.end().unwrap();
}

#[test]
fn what_does_not_exist_says_so() {
    let pair = Pair::new();
    let ctx = Context::new();
    for (service, method) in [("test.Echo", "Nothing"), ("test.Nothing", "Unary")] {
        let outcome: Result<Bytes, _> = pair.client.unary(
            ttrpc_runtime::codec::Raw,
            &ctx,
            service,
            method,
            Bytes::new(),
        );
        assert_eq!(outcome.unwrap_err().code(), Code::UNIMPLEMENTED);
    }
    pair.end().unwrap();
}

#[test]
fn a_call_is_served_while_the_only_thread_waits_in_a_handler() {
    let pair = Pair::new();
    let ctx = within(20_000);
    let (sender, requests) = Streaming::channel(1);
    let mut replies = pair.chat(&ctx, requests).unwrap();
    for number in 0..3 {
        sender.send(bytes(number)).unwrap();
        assert_eq!(replies.message().unwrap(), Some(bytes(number)));
        // Long enough that nobody looks after the threads any more.
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(pair.echo(&ctx, "hello").unwrap(), "hello");
    }
    drop(sender);
    assert_eq!(replies.message().unwrap(), None);
    pair.end().unwrap();
}
