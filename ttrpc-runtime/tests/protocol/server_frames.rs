//! A server: frames that are wrong in themselves.

use crate::bystander::{self, FREE, assert_lives, check};
use crate::frames::{
    CLOSED, DATA, MIB_4, NO_DATA, NONE, OPEN, REQUEST, RESPONSE, Sent, data, envelope, failure,
    field, frame, header, reply, request, request_within,
};
use crate::simulation::{Got, Happened, Server, message};

/// "length ≥ 2^24 (reserved byte set): connection closed, nothing allocated"
#[test]
fn length_with_the_reserved_byte_set_closes_the_connection() {
    for length in [1 << 24, 0x7fff_ffff, u32::MAX] {
        for message_type in [REQUEST, RESPONSE, DATA, 77] {
            let mut server = bystander::server();
            server.feed(request(FREE, NONE, b"before"));
            server.feed(header(length, 1, message_type, NONE));
            let error = server
                .failure
                .take()
                .expect("the connection is beyond repair");
            assert!(error.is_protocol(), "{error}");
            assert!(server.link().take_body().is_none(), "nothing is to be read");
            // What came before it was a call all the same, and nothing answers the frame.
            assert_eq!(server.happened(), [Happened::Call(FREE)]);
            assert_eq!(server.write(usize::MAX), []);
            // There is no way back.
            server.feed(request(FREE + 2, NONE, b""));
            assert!(server.failure.is_some());
            assert_eq!(server.happened(), []);
        }
    }
}

/// "4 MiB < length < 2^24: code 8 on that stream at once, body drained through a small
/// fixed scratch, lives"
#[test]
fn length_over_4_mib_is_code_8_at_once_and_its_body_is_drained() {
    let stream = |id| request(id, OPEN, b"");
    let rows = [
        ("a request", vec![], FREE, REQUEST, 8, false),
        ("data on a stream", stream(FREE), FREE, DATA, 8, true),
        ("data on the unary call", vec![], 3, DATA, 8, false),
        ("a request whose id is even", vec![], 6, REQUEST, 3, false),
        ("a request whose id is in use", vec![], 3, REQUEST, 3, false),
        ("data on an unknown stream", vec![], 99, DATA, 3, false),
    ];
    for (row, before, id, message_type, code, ends) in rows {
        for length in [MIB_4 + 1, (1 << 24) - 1] {
            let mut server = bystander::server();
            server.feed(&before);
            server.happened();
            server.feed(header(length as u32, id, message_type, NONE));
            assert_eq!(server.sent(), [Sent::Failure(id, code)], "{row}: at once");
            let ended: &[_] = if ends { &[Happened::Ended(id)] } else { &[] };
            assert_eq!(server.happened(), ended, "{row}");

            let mut rest = length;
            while rest > 0 {
                assert!(
                    server.link().take_body().is_none(),
                    "{row}: no buffer of its own"
                );
                let piece = rest.min(1_000_000);
                server.feed(vec![0; piece]);
                rest -= piece;
            }
            assert_eq!(server.happened(), [], "{row}: none of it is looked at");
            assert_eq!(server.sent(), [], "{row}: it is answered once");
            assert_lives(&mut server, row);
        }
    }
}

/// "Data is at most 4 MiB (4,194,304 bytes, exactly 4 MiB is legal)"
#[test]
fn exactly_4_mib_is_legal() {
    let mut server = bystander::server();
    let payload = vec![7; MIB_4 - envelope(b"", &[]).len() - 5];
    let ask = request(FREE, NONE, &payload);
    assert_eq!(ask.len(), 10 + MIB_4);
    server.feed(&ask);
    assert_eq!(server.happened(), [Happened::Call(FREE)]);
    let call = server.calls.pop_back().unwrap();
    assert!(call.request.into_payload() == payload);
    server.respond(FREE, Ok(b"ok"));

    let whole = vec![9; MIB_4];
    server.feed(data(1, NONE, &whole));
    match &server.receive(1)[..] {
        [Got::Message(got)] => assert!(*got == whole),
        other => panic!("{} messages", other.len()),
    }
    assert_eq!(server.sent(), [Sent::Reply(FREE, b"ok".to_vec())]);
    assert_lives(&mut server, "exactly 4 MiB");
}

/// "stream id 0 or even: code 3 on that id, lives"
#[test]
fn stream_id_0_or_even_is_code_3() {
    for id in [0, 2, 4, 6, 0x8000_0000, u32::MAX - 1] {
        for flags in [NONE, OPEN, CLOSED] {
            check(
                "stream id 0 or even",
                &request(id, flags, b"x"),
                &[],
                &[Sent::Failure(id, 3)],
            );
        }
        let on_it = data(id, NONE, b"x");
        check("data on id 0 or even", &on_it, &[], &[Sent::Failure(id, 3)]);
    }
}

/// "id reused or decreasing: code 3 and the live stream with that id is untouched"
#[test]
fn id_reused_or_decreasing_is_code_3_and_the_live_stream_is_untouched() {
    for flags in [NONE, OPEN, CLOSED] {
        for id in [1, 3] {
            check(
                "id reused",
                &request(id, flags, b"x"),
                &[],
                &[Sent::Failure(id, 3)],
            );
        }
    }
    let mut server = bystander::server();
    server.feed(request(FREE + 4, NONE, b""));
    server.respond(FREE + 4, Ok(b""));
    server.sent();
    server.happened();
    // Lower than the last one, and never used; used, and over.
    for id in [FREE, FREE + 2, FREE + 4] {
        server.feed(request(id, NONE, b""));
        assert_eq!(server.sent(), [Sent::Failure(id, 3)]);
        assert_eq!(server.happened(), []);
    }
    assert_lives(&mut server, "id decreasing");
}

/// An id that was refused for what came with it is used up too: it was on the wire.
#[test]
fn id_of_a_refused_request_is_used_up() {
    let bad = frame(FREE, REQUEST, NONE, &[0xff]);
    let again = request(FREE, NONE, b"");
    let answers = [Sent::Failure(FREE, 3), Sent::Failure(FREE, 3)];
    check(
        "id of a refused request",
        &[bad, again].concat(),
        &[],
        &answers,
    );
}

/// "id 0xFFFFFFFF: served; a later id can't be valid"
#[test]
fn id_0xffffffff_is_served_and_no_later_id_is_valid() {
    let mut server = bystander::server();
    server.feed(request(u32::MAX, NONE, b"last"));
    assert_eq!(server.happened(), [Happened::Call(u32::MAX)]);
    server.respond(u32::MAX, Ok(b"served"));
    assert_eq!(server.sent(), [Sent::Reply(u32::MAX, b"served".to_vec())]);
    for id in [1, FREE, u32::MAX - 2, u32::MAX] {
        server.feed(request(id, NONE, b""));
        assert_eq!(server.sent(), [Sent::Failure(id, 3)]);
    }
    assert_eq!(server.happened(), []);
    assert_eq!(server.link().streams(), 2);
}

/// "Response frame to a server, unknown type or flags: ignored"
#[test]
fn response_frame_to_a_server_and_unknown_type_are_ignored() {
    let row = "response frame to a server, unknown type";
    for id in [0, 1, 3, 4, FREE] {
        for input in [
            reply(id, b"x"),
            failure(id, 5),
            frame(id, RESPONSE, 0xff, &[0xff]),
        ] {
            check(row, &input, &[], &[]);
        }
        for message_type in [0, 4, 127, 255] {
            check(row, &frame(id, message_type, 0xff, b"what?"), &[], &[]);
        }
    }
    // Over the limit they are ignored as well.
    for message_type in [RESPONSE, 0, 4] {
        let mut server = bystander::server();
        server.feed(frame(1, message_type, NONE, &vec![0; MIB_4 + 1]));
        assert_eq!((server.sent(), server.happened()), (vec![], vec![]));
        assert_lives(&mut server, row);
    }
}

/// "unknown flags: ignored"
#[test]
fn unknown_flags_are_ignored() {
    let rows = [(0xf8, NONE), (0xf8 | OPEN, OPEN), (0xf8 | CLOSED, CLOSED)];
    for (flags, known) in rows {
        let call = |flags| {
            let mut server = bystander::server();
            server.feed(request(FREE, flags, b"x"));
            assert_eq!(server.happened(), [Happened::Call(FREE)]);
            server.calls.pop_back().unwrap().kind
        };
        assert_eq!(call(flags), call(known));
    }
    let mut server = bystander::server();
    server.feed(data(1, 0xf8, b"x"));
    assert_eq!(server.receive(1), [message(b"x")]);
    server.feed(data(1, 0xf8 | NO_DATA, b""));
    assert_eq!(server.receive(1), []);
    server.feed(data(1, 0xf8 | CLOSED | NO_DATA, b""));
    assert_eq!(server.receive(1), [Got::Closed]);
}

/// "envelope is not protobuf, or is nested without end: code 3, bounded depth, lives"
#[test]
fn envelope_that_is_not_protobuf_or_nested_without_end_is_code_3() {
    let inside = |depth| (0..depth).fold(vec![], |inner: Vec<u8>, _| field(5, &inner));
    let not_protobuf: [(&str, Vec<u8>); 14] = [
        ("a field without an end", vec![0xff]),
        ("a length past the end", vec![0x0a, 5, b'x']),
        (
            "a length of 2^64 - 1",
            [&[0x1a][..], &[0xff; 9], &[1]].concat(),
        ),
        (
            "a number of 11 bytes",
            [&[0x20][..], &[0xff; 10], &[1]].concat(),
        ),
        ("field number 0", vec![0x02, 0]),
        ("wire type 6", vec![0x0e]),
        ("wire type 7", vec![0x0f]),
        ("a service that is a number", vec![0x08, 1]),
        ("a timeout that is a string", field(4, b"1s")),
        ("a service that is not UTF-8", field(1, &[0xff])),
        (
            "a metadata key that is not UTF-8",
            field(5, &field(1, &[0xff])),
        ),
        ("the end of a group that has not begun", vec![0x0c]),
        ("groups without end", vec![0x7b; 100_000]),
        (
            "groups that end, a million deep",
            [vec![0x7b; 1 << 20], vec![0x7c; 1 << 20]].concat(),
        ),
    ];
    for (row, data) in not_protobuf {
        for flags in [NONE, OPEN, CLOSED] {
            let mut server = bystander::server();
            server.feed(frame(FREE, REQUEST, flags, &data));
            assert_eq!(server.sent(), [Sent::Failure(FREE, 3)], "{row}");
            assert_eq!(server.happened(), [], "{row}");
            assert_lives(&mut server, row);
        }
    }
    // Messages in a field that is not known are bytes, whatever their depth.
    let known = envelope(b"x", &field(15, &inside(1000)));
    let mut server = bystander::server();
    server.feed(frame(FREE, REQUEST, NONE, &known));
    assert_eq!(server.happened(), [Happened::Call(FREE)]);
}

/// "negative timeout, or zero time left: 4 at once, handler not run"
#[test]
fn negative_timeout_is_code_4_at_once_and_the_handler_is_not_run() {
    for timeout in [-1, -1_000_000_000, i64::MIN] {
        for flags in [NONE, OPEN, CLOSED] {
            let input = request_within(FREE, flags, timeout);
            check("negative timeout", &input, &[], &[Sent::Failure(FREE, 4)]);
        }
    }
}

/// A timeout of 0 is how protobuf says that there is none, also where it is spelt out.
#[test]
fn timeout_of_0_is_no_timeout() {
    let mut server = Server::with(|_| {});
    server.feed(request_within(1, NONE, 0));
    assert_eq!(server.happened(), [Happened::Call(1)]);
    assert_eq!(server.calls[0].deadline, None);
    assert_eq!(server.timeout(), None);
}
