//! A server: Data frames, where they belong and where they do not.

use ttrpc_runtime::Status;
use ttrpc_runtime::proto::{CallKind, Endpoint};

use crate::bystander::{self, FREE, assert_lives, check};
use crate::frames::{CLOSED, NO_DATA, NONE, OPEN, REQUEST, Sent, data, frame, request};
use crate::simulation::{Got, Happened, Server, message, stream_id};

/// How many stray frames a connection outlives.
const STRAYS: u32 = 1024;

#[test]
fn data_that_says_nothing_tells_nobody() {
    let mut server = bystander::server();
    server.feed(request(FREE, OPEN, b""));
    server.happened();
    server.feed(data(FREE, NO_DATA, b"x"));
    assert_eq!(server.happened(), []);
    server.feed(data(FREE, CLOSED | NO_DATA, b""));
    assert_eq!(server.happened(), [Happened::Readable(FREE)]);
    assert_eq!(server.receive(FREE), [Got::Closed]);
}

/// "Zero-length Data without 0x04 is an empty message and is delivered." "Receive: accept
/// the combined frame and deliver the payload before the end."
#[test]
fn messages_and_ends_in_every_combination_of_flags() {
    let rows: [(&str, u8, &[u8], &[Got]); 7] = [
        ("a message", NONE, b"x", &[message(b"x")]),
        ("an empty message", NONE, b"", &[message(b"")]),
        ("the end", CLOSED | NO_DATA, b"", &[Got::Closed]),
        (
            "a last message",
            CLOSED,
            b"x",
            &[message(b"x"), Got::Closed],
        ),
        (
            "a last message, empty",
            CLOSED,
            b"",
            &[message(b""), Got::Closed],
        ),
        ("neither", NO_DATA, b"", &[]),
        (
            "data where none should be",
            CLOSED | NO_DATA,
            b"x",
            &[Got::Closed],
        ),
    ];
    for (row, flags, payload, got) in rows {
        for cut in [1, usize::MAX] {
            let mut server = bystander::server();
            server.feed(request(FREE, OPEN, b""));
            server.happened();
            server.feed_cut(data(FREE, NONE, b"before"), cut);
            server.feed_cut(data(FREE, flags, payload), cut);
            // Once, for all that waits.
            assert_eq!(server.happened(), [Happened::Readable(FREE)], "{row}");
            assert_eq!(
                server.receive(FREE),
                [&[message(b"before")], got].concat(),
                "{row}"
            );
            server.finish(FREE, Ok(()));
            let done = Sent::Data(FREE, CLOSED | NO_DATA, vec![]);
            assert_eq!(server.sent(), [done], "{row}");
            assert_lives(&mut server, row);
        }
    }
}

/// "Data on an unknown or finished id: code 3"
#[test]
fn data_on_an_unknown_or_finished_id_is_code_3() {
    let row = "data on an unknown id";
    for flags in [NONE, CLOSED, CLOSED | NO_DATA] {
        check(
            row,
            &data(FREE, flags, b"x"),
            &[],
            &[Sent::Failure(FREE, 3)],
        );
    }
    for finished_by in [NONE, OPEN, CLOSED] {
        let mut server = bystander::server();
        server.feed(request(FREE, finished_by, b""));
        server.respond(FREE, Ok(b"done"));
        server.happened();
        server.sent();
        server.feed(data(FREE, NONE, b"x"));
        server.feed(data(FREE, CLOSED | NO_DATA, b""));
        assert_eq!(
            server.sent(),
            [Sent::Failure(FREE, 3), Sent::Failure(FREE, 3)]
        );
        assert_eq!(server.happened(), []);
        assert_lives(&mut server, "data on a finished id");
    }
}

/// Feeds Data frames until the connection closes, and says how many it lived through.
fn flood(server: &mut Server, id: u32, most: u32) -> u32 {
    for n in 0..most {
        server.feed(data(id, NONE, b"x"));
        if server.failure.is_some() {
            return n;
        }
        assert_eq!(server.sent(), [Sent::Failure(id, 3)]);
    }
    most
}

/// "a flood of them (about 1,024) closes the connection"
#[test]
fn flood_of_data_on_unknown_or_finished_ids_closes_the_connection() {
    let mut server = bystander::server();
    assert_eq!(flood(&mut server, 99, 10_000), STRAYS, "an unknown id");
    assert!(server.failure.take().unwrap().is_protocol());

    let mut server = bystander::server();
    server.respond(3, Ok(b"done"));
    server.sent();
    assert_eq!(
        flood(&mut server, 3, 10_000),
        STRAYS,
        "a finished unary call"
    );

    let mut server = bystander::server();
    server.feed(data(1, CLOSED | NO_DATA, b""));
    server.finish(1, Ok(()));
    server.sent();
    assert_eq!(
        flood(&mut server, 1, 10_000),
        STRAYS,
        "a stream that both ends have closed"
    );

    let mut server = Server::with(|limits| limits.stray_frames = 2);
    assert_eq!(flood(&mut server, 1, 10), 2, "the limit that was set");
}

/// The same flood on a stream whose handler has read the end of the requests, as nearly
/// every handler does before it answers.
#[test]
fn flood_of_data_on_a_finished_stream_whose_end_was_read_closes_the_connection() {
    let mut server = bystander::server();
    server.feed(data(1, CLOSED | NO_DATA, b""));
    assert_eq!(server.receive(1), [Got::Closed]);
    server.finish(1, Ok(()));
    server.sent();
    assert_eq!(flood(&mut server, 1, 10_000), STRAYS);
}

/// And on one whose handler wanted no more requests.
#[test]
fn flood_of_data_on_a_finished_stream_that_was_abandoned_closes_the_connection() {
    let mut server = bystander::server();
    server.endpoint.abandon(stream_id(1));
    server.feed(data(1, CLOSED | NO_DATA, b""));
    server.finish(1, Ok(()));
    server.sent();
    assert_eq!(flood(&mut server, 1, 10_000), STRAYS);
}

/// A client that has not yet seen that its stream is over is late, not hostile: what it
/// had under way is answered and does not count, up to its close.
#[test]
fn late_data_on_a_stream_that_the_server_ended_early_is_no_flood() {
    let mut server = bystander::server();
    server.feed(request(FREE, OPEN, b""));
    server.finish(FREE, Err(Status::aborted("enough").into()));
    server.sent();
    assert_eq!(flood(&mut server, FREE, 3 * STRAYS), 3 * STRAYS);
    server.feed(data(FREE, CLOSED | NO_DATA, b""));
    assert_eq!(server.sent(), [Sent::Failure(FREE, 3)]);
    assert_eq!(flood(&mut server, FREE, 10_000), STRAYS, "after its close");
}

/// The same where the stream was refused at once: "more streams than the cap: 8 on the
/// new one, lives", and its client may have sent a lot before it hears of that.
#[test]
fn late_data_on_a_stream_that_was_refused_is_no_flood() {
    let rows = [
        ("over the cap", request(FREE, OPEN, b""), 8, false),
        ("at a shut-down", request(FREE, OPEN, b""), 14, true),
        ("malformed", frame(FREE, REQUEST, OPEN, &[0xff]), 3, false),
    ];
    for (row, request, code, shut_down) in rows {
        let mut server = Server::with(|limits| limits.max_streams = 2);
        server = bystander::with_calls_under_way(server);
        if shut_down {
            server.endpoint.shut_down();
        }
        server.feed(request);
        assert_eq!(server.sent(), [Sent::Failure(FREE, code)], "{row}");
        assert_eq!(flood(&mut server, FREE, 3 * STRAYS), 3 * STRAYS, "{row}");
    }
}

/// And where the method takes a single request, though the client has announced a stream.
#[test]
fn late_data_of_a_client_that_took_the_call_for_a_stream_is_no_flood() {
    for kind in [CallKind::Unary, CallKind::ServerStreaming] {
        let mut server = bystander::server();
        server.feed(request(FREE, OPEN, b""));
        server.endpoint.accept(stream_id(FREE), kind);
        server.respond(FREE, Ok(b"answer"));
        server.sent();
        assert_eq!(flood(&mut server, FREE, 3 * STRAYS), 3 * STRAYS, "{kind:?}");
        server.feed(data(FREE, CLOSED | NO_DATA, b""));
        assert_eq!(server.sent(), [Sent::Failure(FREE, 3)]);
        assert_eq!(flood(&mut server, FREE, 10_000), STRAYS, "after its close");
    }
}

/// "Data on a unary id in flight: code 3 for the Data, the call itself is unaffected and
/// answers once"
#[test]
fn data_on_a_unary_id_in_flight_is_code_3_and_the_call_answers_once() {
    for flags in [NONE, CLOSED, CLOSED | NO_DATA, NO_DATA] {
        let mut server = bystander::server();
        server.feed(request(FREE, NONE, b"ask"));
        server.happened();
        for payload in [&b"x"[..], b"", b"y"] {
            server.feed(data(FREE, flags, payload));
            assert_eq!(server.sent(), [Sent::Failure(FREE, 3)]);
            assert_eq!(server.happened(), [], "its handler is not told");
        }
        assert_eq!(server.respond(FREE, Ok(b"answer")), Some(FREE));
        assert_eq!(server.respond(FREE, Ok(b"again")), None);
        assert_eq!(server.sent(), [Sent::Reply(FREE, b"answer".to_vec())]);
        assert_lives(&mut server, "data on a unary id in flight");
    }
}

/// The method decides what a call is: Data has no place on a unary one, whatever flags it
/// was opened with.
#[test]
fn data_on_a_call_that_its_method_says_takes_none_is_code_3() {
    for kind in [CallKind::Unary, CallKind::ServerStreaming] {
        let mut server = bystander::server();
        server.feed(request(FREE, OPEN, b"ask"));
        server.endpoint.accept(stream_id(FREE), kind);
        server.happened();
        server.feed(data(FREE, NONE, b"x"));
        assert_eq!(server.sent(), [Sent::Failure(FREE, 3)]);
        assert_eq!(server.happened(), []);
        assert_eq!(server.respond(FREE, Ok(b"answer")), Some(FREE));
        assert_eq!(server.sent(), [Sent::Reply(FREE, b"answer".to_vec())]);
        assert_lives(&mut server, "data on a call that takes none");
    }
}

fn assert_data_after_remote_closed(mut server: Server, row: &str) {
    server.happened();
    server.feed(data(FREE, NONE, b"after"));
    assert_eq!(server.sent(), [Sent::Failure(FREE, 3)], "{row}");
    assert_eq!(
        server.happened(),
        [Happened::Ended(FREE)],
        "{row}: handler cancelled"
    );
    assert!(server.send(FREE, b"late").is_err(), "{row}");
    assert_eq!(server.respond(FREE, Ok(b"late")), None, "{row}");
    assert_eq!(server.sent(), [], "{row}");
    assert_lives(&mut server, row);
}

/// "Data after remote closed: code 3, handler cancelled"
#[test]
fn data_after_remote_closed_is_code_3_and_the_handler_is_cancelled() {
    let ends = [
        ("the close", data(FREE, CLOSED | NO_DATA, b"")),
        ("a last message", data(FREE, CLOSED, b"last")),
    ];
    for (row, end) in ends {
        let mut server = bystander::server();
        server.feed([request(FREE, OPEN, b""), end].concat());
        assert_data_after_remote_closed(server, row);
    }
    let mut server = bystander::server();
    server.feed(request(FREE, CLOSED, b"ask"));
    assert_data_after_remote_closed(server, "a request that is remote closed");
}

/// The same once the handler has read the end of the requests and works on its answer.
#[test]
fn data_after_remote_closed_that_was_read_is_code_3_and_the_handler_is_cancelled() {
    let mut server = bystander::server();
    server.feed([request(FREE, OPEN, b""), data(FREE, CLOSED | NO_DATA, b"")].concat());
    assert_eq!(server.receive(FREE), [Got::Closed]);
    assert_data_after_remote_closed(server, "the end was read");
}

/// And where the handler wants no more requests.
#[test]
fn data_after_remote_closed_that_nobody_reads_is_code_3_and_the_handler_is_cancelled() {
    let mut server = bystander::server();
    server.feed(request(FREE, OPEN, b""));
    server.endpoint.abandon(stream_id(FREE));
    server.feed(data(FREE, CLOSED | NO_DATA, b""));
    assert_data_after_remote_closed(server, "the stream was abandoned");
}

/// The end is said once.
#[test]
fn end_is_received_once() {
    let mut server = bystander::server();
    server.feed([data(1, NONE, b"a"), data(1, CLOSED, b"b")].concat());
    assert_eq!(
        server.receive(1),
        [message(b"a"), message(b"b"), Got::Closed]
    );
    assert_eq!(server.receive(1), []);
    // The other half is open still.
    server.send(1, b"x").unwrap();
    assert_eq!(server.finish(1, Ok(())), Some(1));
}

/// A handler that wants no more requests goes on to answer; what comes is dropped without
/// a word, and keeps nothing from being read.
#[test]
fn abandoned_requests_are_dropped_and_the_replies_go_on() {
    let mut server = Server::with(|limits| limits.inbox_bytes = 1000);
    server = bystander::with_calls_under_way(server);
    server.feed(request(FREE, OPEN, b""));
    server.feed(data(FREE, NONE, b"x"));
    assert_eq!(server.endpoint.abandon(stream_id(FREE)), None);
    for _ in 0..100 {
        server.feed(data(FREE, NONE, &[0; 500]));
    }
    assert!(server.unread.is_empty());
    assert_eq!(server.receive(FREE), []);
    assert_eq!(server.sent(), []);
    server.send(FREE, b"reply").unwrap();
    server.finish(FREE, Ok(()));
    let expected = [
        Sent::Data(FREE, NONE, b"reply".to_vec()),
        Sent::Data(FREE, CLOSED | NO_DATA, vec![]),
    ];
    assert_eq!(server.sent(), expected);
    assert_lives(&mut server, "abandoned requests");
}
