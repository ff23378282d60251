//! A server that takes calls together which lie one behind the other.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use ttrpc_runtime::codec::{Buffer, CodecError, Payload};
use ttrpc_runtime::proto::{CallKind, Endpoint, Event, Now, Output, server};
use ttrpc_runtime::{Limits, Result, Status};

use crate::frames::{
    CLOSED, NONE, OPEN, REQUEST, Sent, data, frame, parse, reply, request, request_within,
};
use crate::simulation::{limits, stream_id};

type Server = server::Connection<u32>;

/// A server that these frames have come to in one piece.
fn server(limits: Limits, frames: &[Vec<u8>]) -> Server {
    let mut server = Server::new(limits);
    server.link().received(&frames.concat());
    server
}

/// The next call, and those that are taken with it.
fn take(server: &mut Server) -> Result<Vec<server::Call>> {
    let mut place = None;
    let mut calls = Vec::new();
    if let Some(Event::Call) = server.poll(&mut Now::default(), &mut place)? {
        calls.extend(place.take());
        while server.next_call(&mut place) {
            calls.extend(place.take());
        }
    }
    Ok(calls)
}

fn ids(calls: &[server::Call]) -> Vec<u32> {
    calls.iter().map(|call| call.id.get()).collect()
}

fn sent(server: &mut Server) -> Vec<Sent> {
    let mut output = Output::default();
    server.link().take_output(&mut output);
    let bytes = output.as_slice().unwrap_or_default().to_vec();
    server.link().set_writing(0);
    parse(&bytes)
}

fn unary(ids: &[u32]) -> Vec<Vec<u8>> {
    let payload = |id: u32| format!("request {id}");
    let request = |id: &u32| request(*id, NONE, payload(*id).as_bytes());
    ids.iter().map(request).collect()
}

#[test]
fn calls_that_lie_one_behind_the_other_are_what_they_were() {
    let mut server = server(Limits::default(), &unary(&[1, 3, 5]));
    let calls = take(&mut server).unwrap();
    assert_eq!(ids(&calls), [1, 3, 5]);
    for call in calls {
        assert_eq!(call.kind, CallKind::Unary);
        assert_eq!(
            (call.request.service(), call.request.method()),
            ("s.S", "M")
        );
        assert_eq!(call.deadline, None);
        let payload = format!("request {}", call.id);
        assert_eq!(call.request.into_payload(), payload);
    }
}

/// In whichever order they are answered, and whether somebody needs their streams or not.
#[test]
fn each_is_answered_once_in_any_order() {
    let orders = [
        [1, 3, 5],
        [1, 5, 3],
        [3, 1, 5],
        [3, 5, 1],
        [5, 1, 3],
        [5, 3, 1],
    ];
    for order in orders {
        for needs_streams in [None, Some(0), Some(1), Some(2)] {
            let mut server = server(Limits::default(), &unary(&[1, 3, 5]));
            assert_eq!(take(&mut server).unwrap().len(), 3);
            for (n, id) in order.into_iter().enumerate() {
                if needs_streams == Some(n) {
                    assert_eq!(server.link().streams(), 3 - n);
                }
                let answer = Bytes::from(format!("{id}"));
                server.respond(stream_id(id), Ok(&answer));
                assert_eq!(server.respond(stream_id(id), Ok(&answer)), None);
            }
            let replies = order.map(|id| Sent::Reply(id, format!("{id}").into()));
            assert_eq!(sent(&mut server), replies);
            assert_eq!(server.link().streams(), 0);
        }
    }
}

/// Only what needs nothing but an answer is taken together, and what is left is there the next
/// time.
#[test]
fn what_is_no_such_call_comes_later() {
    let rows = [
        ("a stream", request(3, OPEN, b""), vec![3]),
        ("a stream of replies", request(3, CLOSED, b""), vec![3]),
        (
            "a deadline",
            request_within(3, NONE, 1_000_000_000),
            vec![3],
        ),
        (
            "a timeout that is over",
            request_within(3, NONE, -1),
            vec![],
        ),
        ("not the next id", request(7, NONE, b""), vec![7]),
        ("an id that has been", request(1, NONE, b""), vec![]),
        ("an even id", request(2, NONE, b""), vec![]),
        ("no request", frame(3, REQUEST, NONE, b"\xff"), vec![]),
        ("data", data(1, NONE, b""), vec![]),
        ("a reply", reply(3, b""), vec![]),
        (
            "a part of one",
            request(3, NONE, b"")[..12].to_vec(),
            vec![],
        ),
    ];
    for (what, second, then) in rows {
        let mut server = server(Limits::default(), &[request(1, NONE, b""), second]);
        assert_eq!(ids(&take(&mut server).unwrap()), [1], "{what}");
        assert_eq!(ids(&take(&mut server).unwrap()), then, "{what}");
        assert_eq!(server.link().streams(), 1 + then.len(), "{what}");
    }
    for first in [
        request(1, OPEN, b""),
        request_within(1, NONE, 1_000_000_000),
    ] {
        let mut server = server(Limits::default(), &[first, request(3, NONE, b"")]);
        assert_eq!(ids(&take(&mut server).unwrap()), [1]);
        assert_eq!(ids(&take(&mut server).unwrap()), [3]);
    }
}

/// Calls without streams count: there are never more than the limit, and the one too many is
/// refused.
#[test]
fn calls_that_are_taken_together_keep_to_the_limit() {
    let mut server = server(limits(|l| l.max_streams = 3), &unary(&[1, 3, 5, 7]));
    assert_eq!(ids(&take(&mut server).unwrap()), [1, 3, 5]);
    assert_eq!(ids(&take(&mut server).unwrap()), []);
    assert_eq!(sent(&mut server), [Sent::Failure(7, 8)]);
}

#[test]
fn none_is_taken_once_the_server_shuts_down_or_replies_pile_up() {
    let mut place = None;
    let frames = unary(&[1, 3, 5]);
    let mut draining = server(Limits::default(), &frames);
    let now = std::time::Instant::now();
    assert!(matches!(
        draining.poll(&mut now.into(), &mut place),
        Ok(Some(Event::Call))
    ));
    draining.shut_down();
    assert!(!draining.next_call(&mut None));
    assert_eq!(ids(&take(&mut draining).unwrap()), []);
    assert_eq!(sent(&mut draining), [3, 5].map(|id| Sent::Failure(id, 14)));
    draining.respond(stream_id(1), Ok(&Bytes::new()));
    assert_eq!(sent(&mut draining), [Sent::Reply(1, vec![])]);
    assert!(draining.link().is_drained());

    let mut full = server(limits(|l| l.backlog_bytes = 10), &frames);
    assert!(matches!(
        full.poll(&mut now.into(), &mut place),
        Ok(Some(Event::Call))
    ));
    assert!(full.next_call(&mut place));
    full.respond(stream_id(1), Ok(&Bytes::from("a long reply")));
    assert!(!full.next_call(&mut None));
    assert!(!full.wants_read());
    assert_eq!(sent(&mut full), [Sent::Reply(1, b"a long reply".to_vec())]);
    assert_eq!(ids(&take(&mut full).unwrap()), [5]);
}

/// What is to be answered with a reply whose codec panics is answered with an error: whoever
/// the panic takes the call from still finds it.
#[test]
fn a_call_whose_reply_panics_can_still_be_answered() {
    struct Panics;
    impl Payload for Panics {
        fn encoded_len(&self) -> Result<usize, CodecError> {
            Ok(5)
        }
        fn write(&self, buffer: &mut Buffer) {
            buffer.put_slice(b"some");
            panic!("in the middle of a message");
        }
    }
    for needs_streams in [false, true] {
        let mut server = server(Limits::default(), &unary(&[1, 3, 5]));
        let calls = take(&mut server).unwrap();
        if needs_streams {
            server.link();
        }
        for id in ids(&calls) {
            let respond = AssertUnwindSafe(|| server.respond(stream_id(id), Ok(&Panics)));
            assert!(catch_unwind(respond).is_err());
            server.respond(stream_id(id), Err(Status::internal("it panicked").into()));
            assert_eq!(server.respond(stream_id(id), Ok(&Bytes::new())), None);
        }
        let failures = [1, 3, 5].map(|id| Sent::Failure(id, 13));
        assert_eq!(sent(&mut server), failures);
        assert_eq!(server.link().streams(), 0);
    }
}
