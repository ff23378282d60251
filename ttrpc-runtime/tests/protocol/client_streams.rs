//! A client: its streams.

use std::time::Duration;

use ttrpc_runtime::Status;
use ttrpc_runtime::proto::{CallKind, Endpoint};

use crate::frames::{
    CLOSED, NO_DATA, NONE, OPEN, RESPONSE, Sent, data, envelope, failure, header, parse, reply,
    request,
};
use crate::simulation::{Client, Got, Happened, message, stream_id};

use CallKind::{BidiStreaming, ClientStreaming, ServerStreaming, Unary};

const END: u8 = CLOSED | NO_DATA;

/// A client with one call under way, on stream 1, whose request is written.
fn client(kind: CallKind) -> Client {
    let mut client = Client::with(|limits| {
        limits.inbox_bytes = 1000;
        limits.stall_timeout = Duration::from_secs(1);
    });
    client.open(kind, None);
    client.write(usize::MAX);
    client
}

/// "Send: payload and close are always two frames", and no message is left out for being
/// empty.
#[test]
fn payload_and_close_are_always_two_frames() {
    for kind in [ClientStreaming, BidiStreaming] {
        let mut client = Client::with(|_| {});
        client.open(kind, None);
        client.send(1, b"").unwrap();
        client.send(1, b"last").unwrap();
        assert_eq!(
            client.finish(1, Ok(())),
            None,
            "its replies are yet to come"
        );
        let expected = [
            request(1, OPEN, b""),
            data(1, NONE, b""),
            data(1, NONE, b"last"),
            data(1, END, b""),
        ];
        assert_eq!(client.write(usize::MAX), expected.concat());
        // Closed is closed.
        assert!(client.send(1, b"more").is_err());
        assert_eq!(client.finish(1, Ok(())), None);
        assert_eq!(client.write(usize::MAX), []);
    }
}

/// "A client never sends Data on a unary stream"
#[test]
fn client_never_sends_data_where_the_request_is_a_single_one() {
    for kind in [Unary, ServerStreaming] {
        let mut client = client(kind);
        assert!(client.send(1, b"x").is_err());
        assert_eq!(client.finish(1, Ok(())), None);
        assert_eq!(client.endpoint.abandon(stream_id(1)), Some(1));
        assert!(client.send(1, b"x").is_err());
        assert_eq!(client.write(usize::MAX), []);
    }
}

/// "... and never sends Data or a close after it has seen the Response or the remote
/// close", also when the server returned early while it was sending.
#[test]
fn client_never_sends_data_or_a_close_after_the_end_was_seen() {
    let ends = [
        (ClientStreaming, reply(1, b"early")),
        (ClientStreaming, failure(1, 9)),
        (BidiStreaming, failure(1, 9)),
        (BidiStreaming, data(1, END, b"")),
        (BidiStreaming, data(1, CLOSED, b"x")),
        (BidiStreaming, reply(1, b"")),
    ];
    for (kind, end) in ends {
        for received in [false, true] {
            let mut client = client(kind);
            client.send(1, b"before").unwrap();
            assert_eq!(client.write(usize::MAX), data(1, NONE, b"before"));
            client.feed(&end);
            assert_eq!(
                client.happened(),
                [Happened::Ended(1)],
                "what feeds it is stopped"
            );
            if received {
                client.receive(1);
                assert_eq!(client.link().streams(), 0);
            }
            assert!(client.send(1, b"after").is_err());
            assert_eq!(client.finish(1, Ok(())), None);
            client.endpoint.abandon(stream_id(1));
            assert_eq!(client.write(usize::MAX), []);
            assert_eq!(client.link().streams(), 0);
        }
    }
}

/// The same for messages that were sent before the end was seen but have not left yet:
/// written now, they would reach the server after it.
#[test]
fn data_that_waits_in_the_output_is_dropped_when_the_end_is_seen() {
    for end in [failure(1, 9), data(1, END, b"")] {
        let mut client = client(BidiStreaming);
        client.send(1, b"waits").unwrap();
        client.open(Unary, Some(b"other"));
        client.send(1, &[7; 50_000]).unwrap();
        client.finish(1, Ok(()));
        client.feed(end);
        assert_eq!(client.happened(), [Happened::Ended(1)]);
        let sent = parse(&client.write(usize::MAX));
        assert_eq!(sent, [Sent::Request(3, NONE, envelope(b"other", &[]))]);
    }
}

/// The same where the end is a frame over the limit, and where the call is given up.
#[test]
fn data_that_waits_in_the_output_is_dropped_when_nobody_is_left() {
    let mut client = client(ClientStreaming);
    client.send(1, b"waits").unwrap();
    client.feed(header((4 << 20) + 1, 1, RESPONSE, NONE));
    assert_eq!(client.happened(), [Happened::Ended(1)]);
    assert_eq!(client.write(usize::MAX), []);

    for (kind, told) in [
        (ClientStreaming, vec![]),
        (BidiStreaming, data(1, END, b"")),
    ] {
        let mut client = self::client(kind);
        client.send(1, b"waits").unwrap();
        client.endpoint.abandon(stream_id(1));
        assert_eq!(client.write(usize::MAX), told);
    }
}

/// The same for a call that was given up after its close was queued: a close that is taken
/// back with the rest is told again where one is to be told.
#[test]
fn data_and_close_that_wait_in_the_output_are_dropped_when_the_call_is_given_up() {
    for (kind, told) in [
        (ClientStreaming, vec![]),
        (BidiStreaming, data(1, END, b"")),
    ] {
        let mut client = client(kind);
        client.send(1, b"waits").unwrap();
        client.finish(1, Ok(()));
        client.endpoint.abandon(stream_id(1));
        assert_eq!(client.write(usize::MAX), told);
    }
}

/// And where its deadline passes: by the time the messages leave, the server has ended the
/// call, and this end may have seen that.
#[test]
fn data_that_waits_in_the_output_is_dropped_at_the_deadline() {
    for kind in [ClientStreaming, BidiStreaming] {
        for closed in [false, true] {
            let mut client = Client::with(|_| {});
            let second = Duration::from_secs(1);
            client.try_open(kind, None, Some(second)).unwrap();
            client.write(usize::MAX);
            client.send(1, b"waits").unwrap();
            if closed {
                client.finish(1, Ok(()));
            }
            client.advance(second);
            assert_eq!(client.receive(1), [Got::Failed(4)]);
            client.feed(failure(1, 4));
            assert_eq!(client.write(usize::MAX), []);
        }
    }
}

/// And where the server takes the call for one of another kind: its Data fails the call, and
/// may have been its end.
#[test]
fn data_that_waits_in_the_output_is_dropped_when_data_comes_for_a_single_reply() {
    for flags in [NONE, END] {
        let mut client = client(ClientStreaming);
        client.send(1, b"waits").unwrap();
        client.feed(data(1, flags, b""));
        assert_eq!(client.write(usize::MAX), []);
        assert!(client.receive_error(1).is_protocol());
    }
}

/// "Receive: accept the combined frame and deliver the payload before the end." "Zero-
/// length Data without 0x04 is an empty message and is delivered."
#[test]
fn messages_and_ends_in_every_combination_of_flags() {
    let rows: [(u8, &[u8], &[Got]); 7] = [
        (NONE, b"x", &[message(b"x")]),
        (NONE, b"", &[message(b"")]),
        (END, b"", &[Got::Closed]),
        (END, b"x", &[Got::Closed]),
        (CLOSED, b"x", &[message(b"x"), Got::Closed]),
        (CLOSED, b"", &[message(b""), Got::Closed]),
        (NO_DATA, b"", &[]),
    ];
    for kind in [ServerStreaming, BidiStreaming] {
        for (flags, payload, got) in &rows {
            for cut in [1, usize::MAX] {
                let mut client = client(kind);
                let input = [data(1, NONE, b"before"), data(1, *flags, payload)].concat();
                client.feed_cut(input, cut);
                assert_eq!(client.receive(1), [&[message(b"before")], *got].concat());
                let gone = got.last() == Some(&Got::Closed);
                assert_eq!(client.link().streams(), usize::from(!gone));
            }
        }
    }
}

/// An error ends a stream behind the messages that came before it; what comes after the
/// end is dropped.
#[test]
fn messages_come_before_the_end_and_nothing_after_it() {
    let rows = [
        (failure(1, 9), Got::Failed(9)),
        (data(1, END, b""), Got::Closed),
    ];
    for (end, got) in rows {
        let mut client = client(ServerStreaming);
        let input = [
            data(1, NONE, b"a"),
            end,
            data(1, NONE, b"b"),
            failure(1, 3),
            data(1, END, b""),
        ];
        client.feed(input.concat());
        assert_eq!(
            client.happened(),
            [Happened::Readable(1), Happened::Readable(1)]
        );
        assert_eq!(client.receive(1), [message(b"a"), got]);
        assert_eq!(client.link().streams(), 0);
    }
}

/// Whoever still reads a call that somebody else gives up must not take that for its end.
#[test]
fn stream_that_was_given_up_has_not_ended_well() {
    for kind in [ServerStreaming, ClientStreaming, BidiStreaming] {
        let mut client = client(kind);
        client.endpoint.abandon(stream_id(1));
        assert_eq!(client.receive(1), [Got::Failed(1)], "{kind:?}");
    }
}

/// "the single reply of a client-streaming call, ends it with a Response"
#[test]
fn client_stream_is_answered_by_a_response() {
    let mut client = client(ClientStreaming);
    client.finish(1, Ok(()));
    client.feed(reply(1, b"sum"));
    assert_eq!(client.receive(1), [Got::Reply("sum".into())]);
}

/// A response stream that ends with a successful Response has ended, and what that
/// carries is its last message.
#[test]
fn response_stream_that_ends_with_a_reply_has_ended() {
    let mut client = client(ServerStreaming);
    client.feed([data(1, NONE, b"a"), reply(1, b"b")].concat());
    assert_eq!(
        client.receive(1),
        [message(b"a"), message(b"b"), Got::Closed]
    );
}

/// "dropping either half ends the call": where nobody waits for replies any more the
/// server hears that no more requests come, but an unfinished request of a client stream
/// is not made to look finished.
#[test]
fn abandoned_call_is_gone_and_a_stream_both_ways_is_closed() {
    for (kind, sent) in [
        (BidiStreaming, data(1, END, b"")),
        (ClientStreaming, vec![]),
    ] {
        let mut client = client(kind);
        assert_eq!(client.endpoint.abandon(stream_id(1)), Some(1));
        assert_eq!(client.link().streams(), 0);
        assert_eq!(client.write(usize::MAX), sent);
        client.feed([data(1, NONE, b"late"), failure(1, 9)].concat());
        assert_eq!(client.happened(), []);
    }
    // Closed before, it is not closed again.
    let mut client = client(BidiStreaming);
    client.finish(1, Ok(()));
    client.endpoint.abandon(stream_id(1));
    assert_eq!(client.write(usize::MAX), data(1, END, b""));
}

/// A request stream that fails ends its call here, with that error; the server hears what it
/// hears of any call that is given up.
#[test]
fn request_stream_that_fails_ends_its_call() {
    for (kind, sent) in [
        (BidiStreaming, data(1, END, b"")),
        (ClientStreaming, vec![]),
    ] {
        let mut client = client(kind);
        let error = Status::data_loss("the source broke").into();
        client.finish(1, Err(error));
        assert_eq!(client.write(usize::MAX), sent);
    }
    let mut client = client(BidiStreaming);
    client.feed(data(1, NONE, b"unread"));
    let error = Status::data_loss("the source broke").into();
    assert_eq!(
        client.finish(1, Err(error)),
        Some(1),
        "its reader is to be told"
    );
    assert_eq!(client.receive(1), [Got::Failed(15)]);
    assert_eq!(client.link().streams(), 0);
}

/// A flood of replies that nobody reads is capped: the connection is not read meanwhile,
/// then that call alone fails with 8, behind the messages that fitted.
#[test]
fn flood_of_replies_that_nobody_reads_fails_that_call_only() {
    let mut client = client(ServerStreaming);
    client.open(Unary, None);
    for _ in 0..10 {
        client.feed(data(1, NONE, &[0; 300]));
    }
    client.feed(reply(3, b"behind it"));
    assert!(!client.endpoint.wants_read());
    client.happened();
    client.advance(Duration::from_millis(999));
    assert_eq!(client.happened(), []);
    assert_eq!(client.timeout(), Some(Duration::from_millis(1)));
    client.advance(Duration::from_millis(1));
    assert_eq!(client.happened()[0], Happened::Readable(1));
    client.read(|| usize::MAX);
    assert_eq!(client.receive(3), [Got::Reply("behind it".into())]);
    let got = client.receive(1);
    assert!((2..8).contains(&got.len()), "{}", got.len());
    assert_eq!(got.last(), Some(&Got::Failed(8)));
    assert_eq!(client.link().streams(), 0);
    assert_eq!(client.timeout(), None);
}

/// However a call ends, it no longer holds the connection up.
#[test]
fn stall_ends_when_its_call_ends() {
    let now = Duration::from_millis(10);
    type End = fn(&mut Client);
    let ends: [End; 3] = [
        |client| assert_eq!(client.endpoint.abandon(stream_id(1)), Some(1)),
        |client| assert_eq!(client.finish(1, Err(Status::aborted("x").into())), Some(1)),
        |client| client.advance(Duration::from_millis(10)),
    ];
    for end in ends {
        let mut client = Client::with(|limits| limits.inbox_bytes = 100);
        client.try_open(BidiStreaming, None, Some(now)).unwrap();
        client.feed(data(1, NONE, &[0; 90]).repeat(3));
        assert!(!client.endpoint.wants_read());
        end(&mut client);
        assert!(client.endpoint.wants_read());
        assert_eq!(client.timeout(), None);
    }
}

/// A reader that comes back in time gets everything.
#[test]
fn reader_of_replies_that_comes_back_in_time_gets_everything() {
    let mut client = client(ServerStreaming);
    let mut got = Vec::new();
    for n in 0..100u8 {
        client.feed(data(1, NONE, &[n; 100]));
        if !client.endpoint.wants_read() {
            client.advance(Duration::from_millis(999));
            got.extend(client.receive(1));
            client.read(|| usize::MAX);
        }
    }
    client.feed(data(1, END, b""));
    got.extend(client.receive(1));
    let all = (0..100).map(|n| Got::Message(vec![n; 100].into()));
    assert_eq!(got, all.chain([Got::Closed]).collect::<Vec<_>>());
}

/// A client that shuts down is drained once its last call is over and written.
#[test]
fn client_that_shuts_down_is_drained_after_its_last_call() {
    let mut client = client(BidiStreaming);
    client.endpoint.shut_down();
    assert!(!client.link().is_drained());
    client.endpoint.abandon(stream_id(1));
    assert!(!client.link().is_drained(), "the close is not written");
    assert_eq!(client.write(usize::MAX), data(1, END, b""));
    assert!(client.link().is_drained());
}
