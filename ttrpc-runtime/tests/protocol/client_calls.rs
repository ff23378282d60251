//! A client: what its calls send, and what becomes of what comes back.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use ttrpc_runtime::proto::{CallKind, Endpoint, client};
use ttrpc_runtime::{Limits, Metadata};

use crate::frames::{
    CLOSED, DATA, MIB_4, NO_DATA, NONE, OPEN, REQUEST, RESPONSE, data, envelope, failure, field,
    frame, header, reply, request, varint,
};
use crate::simulation::{Client, Got, Happened, lost, stream_id};

use CallKind::{BidiStreaming, ClientStreaming, ServerStreaming, Unary};

const SECOND: Duration = Duration::from_secs(1);

/// A client with a unary call on 1 and a stream both ways on 3 under way.
fn client() -> Client {
    let mut client = Client::with(|_| {});
    assert_eq!(client.open(Unary, Some(b"ask")), 1);
    assert_eq!(client.open(BidiStreaming, None), 3);
    let opened = [request(1, NONE, b"ask"), request(3, OPEN, b"")].concat();
    assert_eq!(client.write(usize::MAX), opened);
    client
}

/// The two calls go on to their ends, nothing else is open, and a new one can be made.
fn assert_lives(client: &mut Client, row: &str) {
    assert!(client.failure.is_none(), "{row}: {:?}", client.failure);
    assert_eq!(client.link().streams(), 2, "{row}");
    client.happened();
    client.feed(
        [
            reply(1, b"answer"),
            data(3, NONE, b"m"),
            data(3, CLOSED | NO_DATA, b""),
        ]
        .concat(),
    );
    let expected = [
        Happened::Readable(1),
        Happened::Readable(3),
        Happened::Ended(3),
    ];
    assert_eq!(client.happened(), expected, "{row}");
    assert_eq!(client.receive(1), [Got::Reply("answer".into())], "{row}");
    assert_eq!(
        client.receive(3),
        [Got::Message("m".into()), Got::Closed],
        "{row}"
    );
    assert_eq!(client.link().streams(), 0, "{row}");
    assert_eq!(client.timeout(), None, "{row}");
    let id = client.open(Unary, Some(b"new"));
    assert_eq!(client.write(usize::MAX), request(id, NONE, b"new"), "{row}");
    client.feed(reply(id, b""));
    assert_eq!(client.receive(id), [Got::Reply("".into())], "{row}");
}

/// "A client sends Request 0x02 for client-streaming and bidi, 0x01 for server-streaming,
/// 0 for unary." "Client stream ids are odd, start at 1 and strictly increase"
#[test]
fn requests_to_the_byte() {
    let mut client = Client::with(|_| {});
    assert_eq!(client.open(Unary, Some(b"x")), 1);
    assert_eq!(client.open(ServerStreaming, Some(b"")), 3);
    assert_eq!(client.open(ClientStreaming, None), 5);
    assert_eq!(client.open(BidiStreaming, None), 7);
    let expected = [
        &[0, 0, 0, 11, 0, 0, 0, 1, 1, 0][..],
        b"\x0a\x03s.S\x12\x01M\x1a\x01x",
        &[0, 0, 0, 8, 0, 0, 0, 3, 1, CLOSED],
        b"\x0a\x03s.S\x12\x01M",
        &[0, 0, 0, 8, 0, 0, 0, 5, 1, OPEN],
        b"\x0a\x03s.S\x12\x01M",
        &[0, 0, 0, 8, 0, 0, 0, 7, 1, OPEN],
        b"\x0a\x03s.S\x12\x01M",
    ];
    assert_eq!(client.write(usize::MAX), expected.concat());
}

/// "timeout_nano is the time left, not a clock time." "Go's clients send neither metadata
/// nor timeout on streams; ours do." "Metadata keys are lower-cased on set"
#[test]
fn timeout_and_metadata_travel_with_every_kind_of_call() {
    let mut metadata = Metadata::new();
    metadata.append("Key", "2");
    metadata.append("kEY", "1");
    let pair = |value| field(5, &[field(1, b"key"), field(2, value)].concat());
    let more = [vec![0x20], varint(2_000_000_000), pair(b"2"), pair(b"1")].concat();
    let flags = [
        (Unary, NONE),
        (ServerStreaming, CLOSED),
        (ClientStreaming, OPEN),
        (BidiStreaming, OPEN),
    ];
    for (kind, flags) in flags {
        let mut client = Client::with(|_| {});
        let deadline = client.now + 5 * SECOND;
        client.advance(3 * SECOND);
        let call = client::Call {
            service: "s.S",
            method: "M",
            kind,
            deadline: Some(deadline),
            metadata: &metadata,
            request: None,
        };
        client.open_call(&call).unwrap();
        let expected = frame(1, REQUEST, flags, &envelope(b"", &more));
        assert_eq!(client.write(usize::MAX), expected);
    }
}

/// "negative timeout, or zero time left", seen from a client: it does not even ask, and
/// never sends a 0, which would say that there is no deadline.
#[test]
fn call_without_time_left_fails_at_once_and_uses_no_id() {
    let mut client = Client::with(|_| {});
    let error = client
        .try_open(Unary, None, Some(Duration::ZERO))
        .unwrap_err();
    assert!(error.is_timeout());
    let nanosecond = Duration::from_nanos(1);
    assert_eq!(client.try_open(Unary, None, Some(nanosecond)).unwrap(), 1);
    let expected = frame(1, REQUEST, NONE, &envelope(b"", &[0x20, 1]));
    assert_eq!(client.write(usize::MAX), expected);
}

/// A request over the limit fails here, with both lengths, and uses no id; exactly 4 MiB
/// is sent.
#[test]
fn request_over_4_mib_fails_and_uses_no_id() {
    let mut client = Client::with(|_| {});
    let room = MIB_4 - envelope(b"", &[]).len() - 5;
    for len in [room + 1, MIB_4 + 1] {
        let error = client
            .try_open(Unary, Some(&vec![0; len]), None)
            .unwrap_err();
        assert!(
            error
                .too_large_by()
                .is_some_and(|(is, most)| is > most && most == MIB_4)
        );
    }
    assert_eq!((client.link().streams(), client.link().backlog()), (0, 0));
    assert_eq!(
        client.try_open(Unary, Some(&vec![0; room]), None).unwrap(),
        1
    );
    assert_eq!(client.write(usize::MAX).len(), 10 + MIB_4);
}

/// "an unknown, duplicate or late reply is dropped"
#[test]
fn unknown_duplicate_or_late_reply_is_dropped() {
    for id in [0, 2, 5, 99, u32::MAX] {
        for input in [
            reply(id, b"x"),
            failure(id, 5),
            data(id, NONE, b"x"),
            data(id, CLOSED, b"x"),
        ] {
            let mut client = client();
            client.feed(input);
            assert_eq!(client.happened(), [], "unknown");
            assert_eq!(client.write(usize::MAX), []);
            assert_lives(&mut client, "an unknown reply");
        }
    }
    let duplicates = [
        reply(5, b"two"),
        failure(5, 3),
        data(5, NONE, b"x"),
        frame(5, RESPONSE, NONE, &[0xff]),
    ];
    for duplicate in duplicates {
        for received in [false, true] {
            let mut client = client();
            client.open(Unary, None);
            client.feed(reply(5, b"one"));
            if received {
                assert_eq!(client.receive(5), [Got::Reply("one".into())]);
            }
            client.feed(&duplicate);
            assert_eq!(client.happened(), [Happened::Readable(5)], "once");
            if !received {
                assert_eq!(client.receive(5), [Got::Reply("one".into())]);
            }
            client.write(usize::MAX);
            assert_lives(&mut client, "a duplicate reply");
        }
    }
    // Late: its caller has gone.
    let mut client = client();
    client.open(Unary, None);
    assert_eq!(client.endpoint.abandon(stream_id(5)), Some(5));
    client.feed(reply(5, b"late"));
    assert_eq!(client.happened(), []);
    client.write(usize::MAX);
    assert_lives(&mut client, "a late reply");
}

/// "Unknown types are ignored by every known peer; unknown flags are ignored", and so is
/// a Request, which makes no sense to a client.
#[test]
fn unknown_types_and_flags_and_requests_are_ignored() {
    for message_type in [REQUEST, 0, 4, 255] {
        for len in [0, 5, MIB_4 + 1] {
            let mut client = client();
            client.feed(frame(1, message_type, 0xff, &vec![0; len]));
            assert_eq!(client.happened(), []);
            assert_lives(&mut client, "an unknown type");
        }
    }
    let mut client = client();
    client.feed(frame(1, RESPONSE, 0xf8, &field(2, b"ok")));
    client.feed(data(3, 0xf8, b"m"));
    assert_eq!(client.receive(1), [Got::Reply("ok".into())]);
    assert_eq!(client.receive(3), [Got::Message("m".into())]);
}

/// "a Response that fails to decode fails one call"
#[test]
fn response_that_fails_to_decode_fails_one_call() {
    let bad: [&[u8]; 5] = [
        &[0xff],
        &[0x12, 5, b'x'],
        &[0x08, 1],
        &[0x0a, 2, 0x12, 9],
        &[0x0e],
    ];
    for data in bad {
        for kind in [Unary, ServerStreaming, ClientStreaming, BidiStreaming] {
            let mut client = client();
            client.open(kind, None);
            client.write(usize::MAX);
            client.feed(frame(5, RESPONSE, NONE, data));
            assert_eq!(client.happened(), [Happened::over(kind, 5)]);
            assert!(client.receive_error(5).is_protocol(), "{data:?}");
            assert_lives(&mut client, "a response that fails to decode");
        }
    }
}

/// "Data on a unary call fails that call"
#[test]
fn data_on_a_call_with_a_single_reply_fails_that_call() {
    for kind in [Unary, ClientStreaming] {
        for flags in [NONE, CLOSED, CLOSED | NO_DATA] {
            let mut client = client();
            client.open(kind, None);
            client.write(usize::MAX);
            client.feed(data(5, flags, b"x"));
            assert_eq!(client.happened(), [Happened::over(kind, 5)]);
            // The reply may come behind it; it is too late.
            client.feed(reply(5, b"x"));
            assert_eq!(client.happened(), []);
            assert!(client.receive_error(5).is_protocol());
            assert_lives(&mut client, "data on a unary call");
        }
    }
}

/// An error keeps its code, whichever kind of call it ends; a status of OK is none.
#[test]
fn error_of_the_server_is_the_error_of_the_call() {
    for kind in [Unary, ServerStreaming, ClientStreaming, BidiStreaming] {
        let mut client = client();
        client.open(kind, None);
        client.write(usize::MAX);
        client.feed(failure(5, 12));
        let error = client.receive_error(5);
        assert_eq!(
            error.status().map(|s| (s.code.0, &s.message[..])),
            Some((12, "no"))
        );
        assert_lives(&mut client, "an error");
    }
    let mut client = client();
    client.feed(frame(1, RESPONSE, NONE, b"\x0a\x00\x12\x02ok"));
    assert_eq!(client.receive(1), [Got::Reply("ok".into())]);
}

/// "EOF fails every pending call", and those that are made later.
#[test]
fn eof_fails_every_pending_call() {
    let mut client = client();
    client.try_open(Unary, None, Some(SECOND)).unwrap();
    client.feed([reply(1, b"before"), data(3, NONE, b"before")].concat());
    client.happened();
    let mut slots = client.endpoint.fail(lost(ErrorKind::ConnectionReset));
    slots.sort_unstable();
    assert_eq!(slots, [3, 5], "call 1 was over");
    assert_eq!(client.timeout(), None);
    assert!(client.send(3, b"late").is_err_and(|error| error.is_io()));
    // What came before it is still there.
    assert_eq!(client.receive(1), [Got::Reply("before".into())]);
    assert!(matches!(
        &client.receive(3)[..],
        [Got::Message(_), Got::Failed(_)]
    ));
    assert!(client.receive_error(5).is_io());
    assert_eq!(client.link().streams(), 0);
    assert!(client.try_open(Unary, None, None).unwrap_err().is_io());
    // Failing again changes nothing: the first reason counts.
    assert_eq!(client.endpoint.fail(lost(ErrorKind::NotFound)), []);
    let first = lost(ErrorKind::ConnectionReset).to_string();
    assert_eq!(client.endpoint.failed().unwrap().to_string(), first);
}

/// The reserved byte ends a client's connection as it does a server's.
#[test]
fn connection_that_has_ended_waits_for_no_frame() {
    let mut client = Client::with(|limits| limits.frame_timeout = Some(SECOND));
    client.feed([0]);
    assert_eq!(client.timeout(), Some(SECOND));
    client.endpoint.fail(lost(ErrorKind::UnexpectedEof));
    assert_eq!(client.timeout(), None);
}

#[test]
fn length_with_the_reserved_byte_set_ends_the_connection() {
    let mut client = client();
    client.feed([reply(1, b"ok"), header(1 << 24, 3, DATA, NONE)].concat());
    assert!(client.failure.as_ref().unwrap().is_protocol());
    assert_eq!(client.receive(1), [Got::Reply("ok".into())]);
    assert!(client.link().take_body().is_none());
}

/// "a call that timed out leaves nothing behind in any table"
#[test]
fn call_that_timed_out_leaves_nothing_behind() {
    for kind in [Unary, ServerStreaming, ClientStreaming, BidiStreaming] {
        let mut client = client();
        let id = client.try_open(kind, None, Some(2 * SECOND)).unwrap();
        client.write(usize::MAX);
        assert_eq!(client.timeout(), Some(2 * SECOND));
        client.advance(2 * SECOND - Duration::from_nanos(1));
        assert_eq!(client.happened(), [], "nothing fires earlier");
        client.advance(Duration::from_nanos(1));
        assert_eq!(client.happened(), [Happened::over(kind, id)]);
        assert_eq!(client.timeout(), None);
        assert!(client.send(id, b"late").is_err());
        assert!(client.receive_error(id).is_timeout());
        assert_eq!(client.link().streams(), 2);
        client.feed([reply(id, b"late"), data(id, NONE, b"late")].concat());
        assert_eq!(client.happened(), []);
        assert_eq!(client.write(usize::MAX), [], "there is no cancel frame");
        assert_lives(&mut client, "a call that timed out");
    }
}

/// A reply in time takes the deadline with it, and so does a caller that goes away.
#[test]
fn call_that_is_over_has_no_deadline() {
    let mut client = client();
    for _ in 0..2 {
        client.try_open(Unary, None, Some(SECOND)).unwrap();
    }
    client.write(usize::MAX);
    client.feed(reply(5, b""));
    assert_eq!(client.timeout(), Some(SECOND));
    client.endpoint.abandon(stream_id(7));
    assert_eq!(client.timeout(), None);
    client.receive(5);
    assert_lives(&mut client, "calls in time");
}

/// "ids that run out give their own error and never wrap"
#[test]
fn ids_that_run_out_give_their_own_error_and_never_wrap() {
    let first = stream_id(u32::MAX - 2);
    let mut client = Client::new(client::Connection::with_first_id(Limits::default(), first));
    assert_eq!(client.open(Unary, None), u32::MAX - 2);
    assert_eq!(client.open(Unary, None), u32::MAX);
    client.write(usize::MAX);
    for _ in 0..3 {
        let error = client.try_open(Unary, None, None).unwrap_err();
        assert!(error.is_stream_ids_exhausted(), "{error}");
    }
    assert_eq!(client.write(usize::MAX), []);
    // The calls that were made are served to their ends.
    client.feed([reply(u32::MAX, b"b"), reply(u32::MAX - 2, b"a")].concat());
    assert_eq!(client.receive(u32::MAX - 2), [Got::Reply("a".into())]);
    assert_eq!(client.receive(u32::MAX), [Got::Reply("b".into())]);
}

/// "a reply over the limit fails that call with 8 and the connection lives"
#[test]
fn reply_over_the_limit_fails_that_call_with_8() {
    for (kind, message_type) in [
        (Unary, RESPONSE),
        (Unary, DATA),
        (ServerStreaming, DATA),
        (BidiStreaming, RESPONSE),
    ] {
        let mut client = client();
        client.open(kind, None);
        client.write(usize::MAX);
        client.feed(header(MIB_4 as u32 + 1, 5, message_type, NONE));
        assert_eq!(client.happened(), [Happened::over(kind, 5)], "at once");
        client.feed(vec![0; MIB_4 + 1]);
        let error = client.receive_error(5);
        assert_eq!(error.code().0, 8);
        assert_eq!(error.too_large_by(), Some((MIB_4 + 1, MIB_4)));
        assert_lives(&mut client, "a reply over the limit");
    }
    let mut client = client();
    let payload = Bytes::from(vec![5; MIB_4 - 5]);
    client.feed(reply(1, &payload));
    assert!(
        client.receive(1) == [Got::Reply(payload)],
        "exactly 4 MiB is legal"
    );
}
