//! A server: every bound that it holds its clients to.

use std::time::Duration;

use bytes::Bytes;
use ttrpc_runtime::frame::HEADER_LEN;
use ttrpc_runtime::proto::Endpoint;

use crate::bystander::{self, FREE, assert_lives};
use crate::frames::{
    CLOSED, DATA, MIB_4, NO_DATA, NONE, OPEN, REQUEST, Sent, data, header, request, request_within,
};
use crate::simulation::{Got, Happened, Server, message, stream_id};

const MILLISECOND: Duration = Duration::from_millis(1);

/// "more streams than the cap: 8 on the new one, lives"
#[test]
fn more_streams_than_the_cap_is_code_8_on_the_new_one() {
    let mut server = Server::with(|limits| limits.max_streams = 3);
    server = bystander::with_calls_under_way(server);
    server.feed(request(FREE, NONE, b""));
    for (id, flags) in [(7, NONE), (9, OPEN), (11, CLOSED)] {
        server.feed(request(id, flags, b""));
        assert_eq!(server.sent(), [Sent::Failure(id, 8)]);
    }
    assert_eq!(server.happened(), [Happened::Call(FREE)]);
    // One that ends makes room for one.
    server.respond(FREE, Ok(b""));
    server.feed([request(13, NONE, b""), request(15, NONE, b"")].concat());
    assert_eq!(server.happened(), [Happened::Call(13)]);
    server.respond(13, Ok(b""));
    let expected = [
        Sent::Reply(FREE, vec![]),
        Sent::Failure(15, 8),
        Sent::Reply(13, vec![]),
    ];
    assert_eq!(server.sent(), expected);
    assert_lives(&mut server, "more streams than the cap");
}

/// "header claims 4 MiB, body never comes: memory grows only with bytes received"
#[test]
fn header_that_claims_4_mib_gets_memory_only_for_what_has_come() {
    for (id, message_type) in [(FREE, REQUEST), (1, DATA), (99, DATA)] {
        let mut server = bystander::server();
        server.feed(header(MIB_4 as u32, id, message_type, NONE));
        let mut come = HEADER_LEN;
        let mut body = server
            .link()
            .take_body()
            .expect("a large frame is read on its own");
        loop {
            let (buffer, missing) = body.buffer();
            assert_eq!((buffer.len(), missing), (come, HEADER_LEN + MIB_4 - come));
            // Room for all of it, and some to spare, once a part worth the name has come;
            // what has not come takes no memory then either, only addresses.
            let most = if come < 32 << 10 {
                68 << 10
            } else {
                (HEADER_LEN + MIB_4) * 3 / 2
            };
            assert!(
                buffer.capacity() <= most,
                "{} for {come} bytes",
                buffer.capacity()
            );
            if missing == 0 {
                break;
            }
            let piece = missing.min(buffer.capacity() - come).min(30_000);
            buffer.resize(come + piece, 0);
            come += piece;
        }
        server.link().received_body(body);
        server.poll();
        // Zeros are no request, and stream 99 does not exist.
        let answered = if id == 1 {
            vec![]
        } else {
            vec![Sent::Failure(id, 3)]
        };
        assert_eq!(server.sent(), answered);
        server.receive(1);
        assert_lives(&mut server, "header claims 4 MiB");
    }
}

/// "optional mid-frame timeout closes"; it does not run between frames, nor anew for
/// each byte.
#[test]
fn frame_that_takes_too_long_closes_the_connection() {
    let inputs = [
        request(FREE, NONE, &[0; 100]),
        data(1, NONE, &vec![0; 200_000]),
        [header(MIB_4 as u32 + 1, 1, 77, NONE), vec![0; 50]].concat(),
    ];
    for input in inputs {
        for begun in [1, 9, 10, 11, input.len() - 1] {
            let mut server = Server::with(|limits| limits.frame_timeout = Some(10 * MILLISECOND));
            server = bystander::with_calls_under_way(server);
            assert_eq!(server.timeout(), None);
            server.advance(100 * MILLISECOND);
            server.feed(&input[..begun]);
            assert_eq!(server.timeout(), Some(10 * MILLISECOND), "{begun}");
            server.advance(6 * MILLISECOND);
            server.feed(&input[begun..begun]);
            assert_eq!(server.timeout(), Some(4 * MILLISECOND), "{begun}");
            server.advance(4 * MILLISECOND - Duration::from_nanos(1));
            assert!(server.failure.is_none(), "nothing fires earlier");
            server.advance(Duration::from_nanos(1));
            assert!(server.failure.take().unwrap().is_protocol(), "{begun}");
        }
    }
}

#[test]
fn frame_that_ends_in_time_starts_the_time_of_the_next_one() {
    let mut server = Server::with(|limits| limits.frame_timeout = Some(10 * MILLISECOND));
    server = bystander::with_calls_under_way(server);
    let messages = [data(1, NONE, b"a"), data(1, NONE, b"b")].concat();
    server.feed(&messages[..5]);
    server.advance(9 * MILLISECOND);
    server.feed(&messages[5..15]);
    assert_eq!(server.timeout(), Some(10 * MILLISECOND));
    server.advance(9 * MILLISECOND);
    server.feed(&messages[15..]);
    assert_eq!(server.timeout(), None);
    assert_eq!(server.receive(1), [message(b"a"), message(b"b")]);
    assert_lives(&mut server, "frames in time");
}

/// A peer is not blamed for the rest of a frame that this end does not read.
#[test]
fn time_of_a_frame_does_not_run_while_nothing_is_read() {
    let mut server = Server::with(|limits| {
        limits.frame_timeout = Some(10 * MILLISECOND);
        limits.output_bytes = 1000;
        limits.backlog_bytes = 1000;
    });
    server = bystander::with_calls_under_way(server);
    let ask = request(FREE, NONE, b"ask");
    server.feed(&ask[..5]);
    server.send(1, &[0; 1000]).unwrap();
    server.feed(&ask[5..]);
    assert!(
        !server.unread.is_empty(),
        "no room for the answer, so it is not read"
    );
    server.advance(20 * MILLISECOND);
    assert!(
        server.failure.is_none(),
        "the rest of the frame has come in time"
    );
    assert_eq!(server.sent().len(), 1);
    assert_eq!(server.happened(), [Happened::Call(FREE)]);
}

/// "One message always fits", "one reply always fits", however little may wait.
#[test]
fn one_of_a_kind_fits_where_nothing_may_wait() {
    let mut server = Server::with(|limits| {
        limits.inbox_bytes = 0;
        limits.output_bytes = 0;
        limits.backlog_bytes = 0;
    });
    server = bystander::with_calls_under_way(server);
    assert!(server.link().has_room() && server.link().has_reply_room());
    server.send(1, b"x").unwrap();
    assert!(!server.link().has_room() && !server.link().has_reply_room());
    let message = Sent::Data(1, NONE, b"x".to_vec());
    assert_eq!(server.sent(), [message]);
    server.respond(3, Ok(b"answer"));
    server.feed(request(FREE, NONE, b"ask"));
    assert_eq!(server.happened(), [], "not while an answer waits");
    assert_eq!(server.sent(), [Sent::Reply(3, b"answer".to_vec())]);
    assert_eq!(server.happened(), [Happened::Call(FREE)]);
}

/// A reader that may take as long as it likes does not make its inbox boundless.
#[test]
fn full_inbox_without_a_time_limit_keeps_the_connection_from_being_read() {
    let mut server = Server::with(|limits| {
        limits.inbox_bytes = 1000;
        limits.stall_timeout = Duration::MAX;
    });
    server = bystander::with_calls_under_way(server);
    let messages = data(1, NONE, &[7; 100]);
    for _ in 0..100 {
        server.feed(&messages);
    }
    let unread = server.unread.len();
    assert!(unread > 80 * messages.len(), "{unread} bytes are unread");
    server.advance(1_000_000_000 * MILLISECOND);
    assert_eq!(server.unread.len(), unread);
    let mut got = 0;
    while got < 100 {
        let messages = server.receive(1).len();
        assert!(messages > 0, "{got} messages have come");
        got += messages;
        server.read(|| usize::MAX);
    }
    server.happened();
    assert_lives(&mut server, "a reader without a time limit");
}

/// "reader that never drains replies: output queue capped in bytes, then this connection
/// is no longer read"
#[test]
fn reader_that_never_drains_replies_is_no_longer_read() {
    let mut server = Server::with(|limits| {
        limits.output_bytes = 1000;
        limits.backlog_bytes = 1000;
    });
    let calls: Vec<u8> = (0..100)
        .flat_map(|i| request(2 * i + 1, NONE, b"x"))
        .collect();
    let mut answered = 0;
    server.feed(calls);
    while let Some(call) = server.calls.pop_front() {
        server.respond(call.id.get(), Ok(&[1; 86]));
        answered += 1;
    }
    // All were decoded before the first was answered; ten answers of 98 bytes fit in.
    assert_eq!((answered, server.link().has_room()), (100, false));
    assert!(!server.endpoint.wants_read());

    let (more, unanswered) = (request(201, NONE, b"x"), server.link().backlog());
    for _ in 0..1000 {
        server.feed(&more);
    }
    assert_eq!(server.unread.len(), 1000 * more.len(), "nothing is read");
    assert_eq!(server.link().backlog(), unanswered, "and nothing answered");
    assert_eq!(server.happened().len(), 100);
    // Once it drains it is read again, and nothing was lost.
    let sent = server.sent();
    assert!(server.endpoint.wants_read() && server.unread.is_empty());
    assert_eq!(server.happened(), [Happened::Call(201)]);
    assert_eq!(
        sent[..100],
        (0..100)
            .map(|i| Sent::Reply(2 * i + 1, vec![1; 86]))
            .collect::<Vec<_>>()
    );
    assert_eq!(sent[100..], vec![Sent::Failure(201, 3); 999]);
}

/// Above the output watermark frames that were read already are not decoded either; what
/// was taken to be written counts until it is written.
#[test]
fn output_watermark_stops_decoding_until_bytes_are_written() {
    let mut server = Server::with(|limits| {
        limits.output_bytes = 1000;
        limits.backlog_bytes = 1000;
    });
    server = bystander::with_calls_under_way(server);
    let even: Vec<u8> = (0..1000).flat_map(|_| request(6, NONE, b"x")).collect();
    server.feed(even);
    let full = server.link().backlog();
    assert!((1000..1200).contains(&full), "{full}");

    // Taken out of the queue it still waits: the peer has not got it.
    let taken = server.write(1);
    assert_eq!((taken.len(), server.link().backlog()), (1, full - 1));
    server.poll();
    assert_eq!(server.link().backlog(), full - 1, "still no room");
    let mut answers = taken;
    loop {
        let written = server.write(100);
        answers.extend_from_slice(&written);
        server.read(|| usize::MAX);
        assert!(server.link().backlog() < 1200);
        if written.is_empty() {
            break;
        }
    }
    assert_eq!(
        crate::frames::parse(&answers),
        vec![Sent::Failure(6, 3); 1000]
    );
    assert_lives(&mut server, "output watermark");
}

/// Deadlines do not wait for a peer that does not read.
#[test]
fn deadline_fires_above_the_output_watermark() {
    let mut server = Server::with(|limits| {
        limits.output_bytes = 1000;
        limits.backlog_bytes = 1000;
    });
    server = bystander::with_calls_under_way(server);
    server.feed(request_within(FREE, NONE, 1_000_000));
    server.send(1, &[0; 2000]).unwrap();
    server.happened();
    assert_eq!(server.timeout(), Some(MILLISECOND));
    server.advance(MILLISECOND);
    assert_eq!(server.happened(), [Happened::Ended(FREE)]);
    let sent = server.sent();
    assert_eq!(
        sent,
        [Sent::Data(1, NONE, vec![0; 2000]), Sent::Failure(FREE, 4)]
    );
}

fn numbers(from: u32, to: u32) -> Vec<Got> {
    (from..to)
        .map(|n| Got::Message(Bytes::copy_from_slice(&n.to_be_bytes())))
        .collect()
}

/// A server whose stream 5 is flooded with numbers; gives it and how many were read.
fn flooded() -> (Server, u32) {
    let mut server = Server::with(|limits| {
        limits.inbox_bytes = 10_000;
        limits.stall_timeout = 100 * MILLISECOND;
    });
    server = bystander::with_calls_under_way(server);
    server.feed(request(FREE, OPEN, b""));
    let mut taken_in = 0;
    // One read each, so that what is not read stays behind.
    for n in 0..10_000u32 {
        server
            .unread
            .extend_from_slice(&data(FREE, NONE, &n.to_be_bytes()));
        server.read(|| 14);
        taken_in += u32::from(server.unread.is_empty());
    }
    server.happened();
    (server, taken_in)
}

/// "Data flood at a handler that does not read: inbox capped in bytes, order kept"
#[test]
fn data_flood_at_a_handler_that_does_not_read_is_capped_and_keeps_its_order() {
    let (mut server, taken_in) = flooded();
    assert!(
        (100..2500).contains(&taken_in),
        "{taken_in} messages in 10,000 bytes"
    );
    assert!(!server.endpoint.wants_read());
    assert_eq!(server.timeout(), Some(100 * MILLISECOND));
    // The handler reads before the stall time is over: all come, in order.
    server.advance(99 * MILLISECOND);
    let mut got = server.receive(FREE);
    assert_eq!(server.timeout(), None);
    while !server.unread.is_empty() {
        server.read(|| 14);
        got.extend(server.receive(FREE));
    }
    assert_eq!(got, numbers(0, 10_000));
    assert_eq!(server.sent(), []);
    server.finish(FREE, Ok(()));
    assert_eq!(server.sent(), [Sent::Data(FREE, CLOSED | NO_DATA, vec![])]);
    assert_lives(&mut server, "data flood, read in the end");
}

/// "past the cap and a stall time, 8 on that stream only"
#[test]
fn data_flood_past_the_cap_and_the_stall_time_is_code_8_on_that_stream_only() {
    let (mut server, taken_in) = flooded();
    server.advance(100 * MILLISECOND - Duration::from_nanos(1));
    assert_eq!(
        (server.happened(), server.write(usize::MAX)),
        (vec![], vec![])
    );
    server.advance(Duration::from_nanos(1));
    assert_eq!(server.happened(), [Happened::Ended(FREE)]);
    assert!(server.endpoint.wants_read());
    // What is left of the flood is late, and does not close the connection.
    let left = 10_000 - taken_in as usize;
    let sent = server.sent();
    assert_eq!(sent[0], Sent::Failure(FREE, 8));
    assert!(sent[1..].iter().all(|sent| *sent == Sent::Failure(FREE, 3)));
    // Frames that were read and not looked at yet are among them.
    assert!(
        (left..=left + 1).contains(&(sent.len() - 1)),
        "{} of {left}",
        sent.len()
    );
    assert_lives(&mut server, "data flood");
}

/// However it ends, a stall ends with its stream.
#[test]
fn stall_ends_when_its_stream_ends() {
    type End = fn(&mut Server) -> Option<u32>;
    let ends: [(&str, End); 3] = [
        ("answered", |server| server.respond(FREE, Ok(b"enough"))),
        ("ended", |server| server.finish(FREE, Ok(()))),
        ("abandoned", |server| {
            server.endpoint.abandon(stream_id(FREE))
        }),
    ];
    for (row, end) in ends {
        let (mut server, _) = flooded();
        assert!(!server.endpoint.wants_read(), "{row}");
        end(&mut server);
        assert_eq!(server.timeout(), None, "{row}");
        assert!(server.endpoint.wants_read(), "{row}");
        server.sent();
        assert!(server.unread.is_empty(), "{row}");
        server.finish(FREE, Ok(()));
        server.sent();
        assert_lives(&mut server, row);
    }
}

/// "One message always fits, however large", and a client that closes is never stalled.
#[test]
fn inbox_takes_one_message_of_any_size_and_the_end() {
    let mut server = Server::with(|limits| limits.inbox_bytes = 100);
    server = bystander::with_calls_under_way(server);
    server.feed(data(1, NONE, &vec![1; MIB_4]));
    assert!(server.endpoint.wants_read());
    assert!(matches!(&server.receive(1)[..], [Got::Message(m)] if m.len() == MIB_4));

    server.feed([data(1, NONE, &[2; 90]), data(1, CLOSED, &[3; 90])].concat());
    assert!(server.endpoint.wants_read());
    assert_eq!(server.timeout(), None);
    assert_eq!(server.receive(1).len(), 3);
}

/// The same under small pieces of a chunk: a byte kept is not worth the 64 KiB that it
/// came with, and must not be charged as less either.
#[test]
fn inbox_is_bounded_however_the_messages_came() {
    for padding in [0, 1000, 10_000] {
        let mut server = Server::with(|limits| limits.inbox_bytes = 200_000);
        server = bystander::with_calls_under_way(server);
        let dropped = data(1, NO_DATA, &vec![0; padding]);
        let piece = [data(1, NONE, b"x"), dropped].concat();
        let fits = (0..50_000)
            .take_while(|_| {
                server.feed(&piece);
                server.endpoint.wants_read()
            })
            .count();
        // Each takes its byte and its place in the queue.
        assert!(
            (2000..20_000).contains(&fits),
            "{fits} messages behind {padding} bytes"
        );
        let got = server.receive(1);
        assert!(got.iter().all(|got| *got == message(b"x")) && got.len() >= fits);
    }
}

/// The cap holds within one read as well: frames behind a full inbox wait, undecoded.
#[test]
fn inbox_takes_no_more_of_a_read_than_fits() {
    let mut server = Server::with(|limits| limits.inbox_bytes = 10_000);
    server = bystander::with_calls_under_way(server);
    let chunk: Vec<u8> = (0..1000u32)
        .flat_map(|n| data(1, NONE, &n.to_be_bytes()))
        .collect();
    server.feed([&chunk[..], &request(FREE, NONE, b"behind")].concat());
    assert!(server.unread.is_empty(), "it was one read");
    assert!(!server.endpoint.wants_read());
    let mut got = server.receive(1);
    assert!((100..500).contains(&got.len()), "{} messages", got.len());
    assert!(!server.happened().contains(&Happened::Call(FREE)));
    while got.len() < 1000 {
        server.poll();
        got.extend(server.receive(1));
    }
    assert_eq!(got, numbers(0, 1000));
    server.poll();
    assert!(server.happened().contains(&Happened::Call(FREE)));
}

/// Messages that are empty stay as they came in: many in one read count with their frames.
#[test]
fn inbox_counts_the_frames_of_its_messages() {
    let cap = 1 << 20;
    let mut server = Server::with(|limits| limits.inbox_bytes = cap);
    server = bystander::with_calls_under_way(server);
    let chunk = data(1, NONE, b"").repeat(6553);
    for _ in 0..100 {
        server.feed(&chunk);
    }
    assert!(!server.endpoint.wants_read());
    let frames = server.receive(1).len() * HEADER_LEN;
    assert!((cap / 2..cap).contains(&frames), "{frames} bytes of frames");
}
