//! A server: what its calls get, and how it answers them.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use ttrpc_runtime::codec::{Buffer, CodecError, Payload};
use ttrpc_runtime::proto::{CallKind, Endpoint, Event, Output, server};
use ttrpc_runtime::{Any, Code, Limits, Status};

use crate::bystander::{self, FREE, assert_lives};
use crate::frames::{
    CLOSED, DATA, MIB_4, NO_DATA, NONE, OPEN, REQUEST, Sent, data, envelope, field, frame, reply,
    request, request_within,
};
use crate::simulation::{Got, Happened, Server, lost, message, stream_id};

const SECOND: Duration = Duration::from_secs(1);

/// The fields of a request reach the handler as they were sent: "keys are lower-cased on
/// set, never on receipt; repeated keys keep their order", "never re-cased".
#[test]
fn request_reaches_its_handler_as_it_was_sent() {
    let pair = |key: &[u8], value: &[u8]| field(5, &[field(1, key), field(2, value)].concat());
    let metadata = [pair(b"Key", b"2"), pair(b"a", b""), pair(b"Key", b"1")].concat();
    let all = [
        &field(1, b"pkg.lower_case")[..],
        &field(2, b"do_it"),
        &field(3, b"x"),
    ]
    .concat();
    let mut server = Server::with(|_| {});
    server.feed(frame(
        1,
        REQUEST,
        NONE,
        &[&all[..], &[0x20, 100], &metadata].concat(),
    ));
    let mut call = server.calls.pop_back().unwrap();
    assert_eq!(call.request.service(), "pkg.lower_case");
    assert_eq!(call.request.method(), "do_it");
    assert_eq!(call.deadline, Some(server.now + Duration::from_nanos(100)));
    let metadata = call.request.take_metadata();
    assert_eq!(
        metadata.iter().collect::<Vec<_>>(),
        [("Key", "2"), ("a", ""), ("Key", "1")]
    );
    assert_eq!(call.request.into_payload(), "x");
}

/// "0x01 remote closed (non-unary, no more client data), 0x02 remote open (non-unary,
/// client still sends); 0 = unary"; "ttrpc-rust opens client streams with 0x06"
#[test]
fn flags_of_a_request_say_what_kind_of_call_it_is() {
    let rows = [
        (NONE, CallKind::Unary),
        (CLOSED, CallKind::ServerStreaming),
        (OPEN, CallKind::BidiStreaming),
        (OPEN | NO_DATA, CallKind::BidiStreaming),
    ];
    for (flags, kind) in rows {
        let mut server = Server::with(|_| {});
        server.feed(request(1, flags, b""));
        assert_eq!(server.calls[0].kind, kind, "{flags}");
        let closed = matches!(server.receive(1)[..], [Got::Closed]);
        assert_eq!(closed, flags == CLOSED, "{flags}");
    }
}

/// "Opening a client stream carries no message: an empty payload on Request 0x02 is not a
/// first message. On server-streaming an empty payload is a message"
#[test]
fn opening_a_client_stream_carries_no_message() {
    let mut server = Server::with(|_| {});
    server.feed(request(1, OPEN, b""));
    server
        .endpoint
        .accept(stream_id(1), CallKind::ClientStreaming);
    assert_eq!(server.receive(1), []);
    server.feed(data(1, NONE, b"first"));
    assert_eq!(server.receive(1), [message(b"first")]);

    server.feed(request(3, CLOSED, b""));
    let call = server.calls.pop_back().unwrap();
    assert_eq!(
        (call.kind, call.request.into_payload().len()),
        (CallKind::ServerStreaming, 0)
    );
}

/// "A server ends a response stream with Data 0x01|0x04 (no data); an error, or the
/// single reply of a client-streaming call, ends it with a Response."
#[test]
fn streams_end_as_their_kind_demands() {
    let mut server = Server::with(|_| {});
    for (id, flags) in [(1, CLOSED), (3, OPEN), (5, OPEN), (7, OPEN), (9, CLOSED)] {
        server.feed(request(id, flags, b""));
    }
    server
        .endpoint
        .accept(stream_id(5), CallKind::ClientStreaming);
    for id in [1, 3, 9] {
        server.send(id, b"").unwrap();
        server.send(id, b"message").unwrap();
    }
    assert_eq!(server.finish(1, Ok(())), Some(1));
    assert_eq!(server.finish(3, Ok(())), Some(3));
    assert_eq!(server.respond(5, Ok(b"single")), Some(5));
    assert_eq!(
        server.finish(7, Err(Status::not_found("x").into())),
        Some(7)
    );
    assert_eq!(server.finish(9, Err(Status::aborted("x").into())), Some(9));
    let mut expected = Vec::new();
    for id in [1, 3, 9] {
        expected.push(Sent::Data(id, NONE, vec![]));
        expected.push(Sent::Data(id, NONE, b"message".to_vec()));
    }
    expected.extend([
        Sent::Data(1, CLOSED | NO_DATA, vec![]),
        Sent::Data(3, CLOSED | NO_DATA, vec![]),
        Sent::Reply(5, b"single".to_vec()),
        Sent::Failure(7, 5),
        Sent::Failure(9, 10),
    ]);
    assert_eq!(server.sent(), expected);
    assert_eq!(server.link().streams(), 0);
}

/// A call that is answered before anything else happens has never had a stream, and that
/// can't be told from outside.
#[test]
fn call_that_is_answered_at_once_ends_like_any_other() {
    for (flags, late) in [(NONE, false), (CLOSED, false), (OPEN, true)] {
        let mut server = server::Connection::<()>::new(Limits::default());
        let now = std::time::Instant::now();
        server
            .link()
            .received(&request_within(1, flags, 1_000_000_000));
        let mut call = None;
        assert!(matches!(
            server.poll(&mut now.into(), &mut call),
            Ok(Some(Event::Call))
        ));
        let call = call.unwrap();
        server.shut_down();
        assert_eq!(server.respond(call.id, Ok(&Bytes::from("answer"))), None);
        assert!(server.link().take_attention(), "it was the last one");
        assert_eq!(server.respond(call.id, Ok(&Bytes::from("twice"))), None);
        let mut output = Output::default();
        server.link().take_output(&mut output);
        assert_eq!(output.as_slice(), Some(&reply(1, b"answer")[..]));
        server.link().set_writing(0);
        assert!(server.link().is_drained());
        assert_eq!(server.link().timeout(), None);
        // What the client of a stream has sent before it knew is late, not stray.
        server.link().received(&data(1, NONE, b"late").repeat(2000));
        assert_eq!(server.poll(&mut now.into(), &mut None).is_ok(), late);
    }
}

/// "A server that is done is done: the stream is finished even if the client never
/// closed."
#[test]
fn server_that_is_done_is_done() {
    let mut server = bystander::server();
    server.feed(request(FREE, OPEN, b""));
    server.feed(data(FREE, NONE, b"one"));
    assert_eq!(server.finish(FREE, Ok(())), Some(FREE));
    assert_eq!(server.sent(), [Sent::Data(FREE, CLOSED | NO_DATA, vec![])]);
    // Whatever else is tried on it does nothing.
    assert!(server.send(FREE, b"late").is_err());
    assert_eq!(server.finish(FREE, Ok(())), None);
    assert_eq!(
        server.finish(FREE, Err(Status::internal("late").into())),
        None
    );
    assert_eq!(server.respond(FREE, Ok(b"late")), None);
    assert_eq!(server.endpoint.abandon(stream_id(FREE)), None);
    assert_eq!(server.receive(FREE), [Got::Failed(1)]);
    assert_eq!(server.sent(), []);
    assert_lives(&mut server, "a server that is done");
}

/// "unknown service, unknown method: 12", "trait method the user did not implement: 12",
/// "payload does not decode as the method's message: code 13", "handler panics: 13": the
/// code that a driver ends a call with is the one that is sent.
#[test]
fn error_is_one_response_with_its_code() {
    for (code, on_wire) in [
        (Code::UNIMPLEMENTED, 12),
        (Code::INTERNAL, 13),
        (Code(77), 77),
    ] {
        for flags in [NONE, OPEN, CLOSED] {
            let mut server = bystander::server();
            server.feed(request(FREE, flags, b"x"));
            let detail = Any {
                type_url: "t/T".into(),
                value: "v".into(),
            };
            let status = Status::new(code, "no").with_detail(detail);
            assert_eq!(server.respond(FREE, Err(status.into())), Some(FREE));
            assert_eq!(server.sent(), [Sent::Failure(FREE, on_wire)]);
            assert_lives(&mut server, "an error");
        }
    }
}

/// A success sends no status field, an empty reply nothing at all.
#[test]
fn replies_to_the_byte() {
    let mut server = Server::with(|_| {});
    server.feed([request(1, NONE, b""), request(0x0102_0305, NONE, b"")].concat());
    server.respond(1, Ok(b""));
    server.respond(0x0102_0305, Ok(b"ok"));
    assert_eq!(
        server.write(usize::MAX),
        [
            &[0, 0, 0, 0, 0, 0, 0, 1, 2, 0][..],
            &[0, 0, 0, 4, 1, 2, 3, 5, 2, 0, 0x12, 2, b'o', b'k']
        ]
        .concat()
    );
}

/// "reply larger than 4 MiB: 8 for that call, lives"
#[test]
fn reply_larger_than_4_mib_is_code_8_for_that_call() {
    // The envelope's tag and length take five bytes.
    for (len, fits) in [(MIB_4 - 5, true), (MIB_4 - 4, false), (MIB_4 + 1, false)] {
        let mut server = bystander::server();
        let reply = vec![3; len];
        server.feed(request(FREE, NONE, b""));
        assert_eq!(server.respond(FREE, Ok(&reply)), Some(FREE));
        let expected = if fits {
            Sent::Reply(FREE, reply)
        } else {
            Sent::Failure(FREE, 8)
        };
        assert!(server.sent() == [expected], "{len}");
        assert_lives(&mut server, "reply larger than 4 MiB");
    }
}

/// The same for a message on a stream: its sender is told, nothing is sent, and the
/// stream takes other messages.
#[test]
fn message_larger_than_4_mib_is_refused_to_its_sender() {
    let mut server = bystander::server();
    server.send(1, &vec![3; MIB_4]).unwrap();
    let error = server.send(1, &vec![3; MIB_4 + 1]).unwrap_err();
    assert_eq!(error.too_large_by(), Some((MIB_4 + 1, MIB_4)));
    let sent = server.sent();
    assert!(sent == [Sent::Data(1, NONE, vec![3; MIB_4])], "{sent:?}");
    assert_lives(&mut server, "message larger than 4 MiB");
}

/// A reply that can't be encoded, or whose codec says one length and writes another.
struct Broken(Option<usize>);

impl Payload for Broken {
    fn encoded_len(&self) -> Result<usize, CodecError> {
        self.0
            .ok_or_else(|| CodecError::new("a required field is missing"))
    }

    fn write(&self, buffer: &mut Buffer) {
        buffer.put_slice(&[0; 3]);
    }
}

/// It is code 13 for that call, and leaves nothing half-written.
#[test]
fn reply_that_can_not_be_encoded_is_code_13_for_that_call() {
    for broken in [None, Some(0), Some(2), Some(4), Some(100_000)].map(Broken) {
        let mut server = bystander::server();
        server.feed(request(FREE, NONE, b""));
        assert!(server.endpoint.send(stream_id(1), &broken).is_err());
        let slot = server.endpoint.respond(stream_id(FREE), Ok(&broken));
        assert_eq!(slot, Some(FREE));
        assert_eq!(server.sent(), [Sent::Failure(FREE, 13)]);
        assert_lives(&mut server, "a reply that can't be encoded");
    }
}

/// An error whose text does not fit into a frame keeps its code.
#[test]
fn error_larger_than_4_mib_keeps_its_code() {
    let mut server = bystander::server();
    server.feed(request(FREE, NONE, b""));
    let status = Status::data_loss("x".repeat(MIB_4));
    server.respond(FREE, Err(status.into()));
    assert_eq!(server.sent(), [Sent::Failure(FREE, 15)]);
    assert_lives(&mut server, "error larger than 4 MiB");
}

/// "handler outlives its deadline: 4 on time; its late result dropped; its cancellation
/// signalled"
#[test]
fn handler_that_outlives_its_deadline_is_code_4_on_time() {
    for flags in [NONE, OPEN, CLOSED] {
        let mut server = bystander::server();
        let second = SECOND.as_nanos() as i64;
        server.feed(request_within(FREE, flags, 2 * second));
        server.advance(SECOND);
        server.feed(request_within(FREE + 2, flags, 5 * second));
        server.happened();
        assert_eq!(server.timeout(), Some(SECOND));

        server.advance(SECOND - Duration::from_nanos(1));
        assert_eq!(
            (server.happened(), server.sent()),
            (vec![], vec![]),
            "nothing fires earlier"
        );
        server.advance(Duration::from_nanos(1));
        assert_eq!(
            server.happened(),
            [Happened::Ended(FREE)],
            "its cancellation"
        );
        assert_eq!(server.sent(), [Sent::Failure(FREE, 4)]);
        assert!(server.send(FREE, b"late").is_err());
        assert_eq!(server.respond(FREE, Ok(b"late")), None);
        assert_eq!(server.sent(), [], "its late result");

        // One that is in time takes its deadline with it.
        assert_eq!(server.timeout(), Some(4 * SECOND));
        assert_eq!(server.respond(FREE + 2, Ok(b"in time")), Some(FREE + 2));
        assert_eq!(server.sent(), [Sent::Reply(FREE + 2, b"in time".to_vec())]);
        assert_eq!(server.timeout(), None);
        assert_lives(&mut server, "handler outlives its deadline");
    }
}

/// Many deadlines, some at the same time, fire in their order and each on time.
#[test]
fn deadlines_fire_in_their_order() {
    let mut server = Server::with(|_| {});
    let seconds = [5, 3, 9, 3, 1, 5, 7];
    for (i, second) in seconds.into_iter().enumerate() {
        server.feed(request_within(
            2 * i as u32 + 1,
            NONE,
            second * 1_000_000_000,
        ));
    }
    server.happened();
    let mut ended = Vec::new();
    while let Some(left) = server.timeout() {
        server.advance(left);
        ended.extend(server.happened());
    }
    let ids = [9, 3, 7, 1, 11, 13, 5];
    assert_eq!(ended, ids.map(Happened::Ended));
    assert_eq!(server.sent(), ids.map(|id| Sent::Failure(id, 4)));
}

/// "peer vanishes mid-frame, half-closes, resets: handlers cancelled, descriptors and
/// tasks back to base"
#[test]
fn peer_that_vanishes_gives_every_slot_back() {
    let mut server = bystander::server();
    server.feed(request_within(FREE, OPEN, 1_000_000));
    server.feed(header_of_a_large_message());
    let mut slots = server.endpoint.fail(lost(ErrorKind::ConnectionReset));
    slots.sort_unstable();
    assert_eq!(slots, [1, 3, FREE]);
    assert_eq!(server.link().streams(), 0);
    assert_eq!(server.timeout(), None);
    // Handlers that have not noticed yet do no harm.
    assert!(server.send(1, b"late").is_err());
    assert_eq!(server.respond(3, Ok(b"late")), None);
    assert_eq!(server.receive(1), [Got::Failed(1)]);
    assert_eq!(server.endpoint.fail(lost(ErrorKind::ConnectionReset)), []);
    assert_eq!(server.sent(), []);
}

fn header_of_a_large_message() -> Vec<u8> {
    frame(1, DATA, NONE, &[0; 100_000])[..50_000].to_vec()
}

/// A server that shuts down lets calls end, takes no new ones, and is then drained.
#[test]
fn server_that_shuts_down_lets_its_calls_end() {
    let mut server = bystander::server();
    server.endpoint.shut_down();
    server.feed(frame(FREE, REQUEST, NONE, &envelope(b"x", &[])));
    assert_eq!(
        (server.sent(), server.happened()),
        (vec![Sent::Failure(FREE, 14)], vec![])
    );
    server.respond(3, Ok(b"answer"));
    server.feed(data(1, NONE, b"more"));
    assert_eq!(server.receive(1), [message(b"more")]);
    server.finish(1, Ok(()));
    assert!(
        !server.link().is_drained(),
        "its last frames are not written"
    );
    assert_eq!(server.sent().len(), 2);
    assert!(server.link().is_drained());
}
