//! Both ends: time and room.

use std::time::Duration;

use ttrpc_runtime::proto::{CallKind, Endpoint};

use crate::frames::{CLOSED, NO_DATA, Sent};
use crate::pipes::Pair;
use crate::simulation::{Got, Happened, Random, stream_id};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// "timeout_nano is the time left, not a clock time": both ends give the call up, the
/// client when its time is over, the server when what the client had left is.
#[test]
fn deadline_holds_at_both_ends() {
    let mut pair = Pair::new(1);
    let id = pair
        .client
        .try_open(CallKind::Unary, None, Some(5 * SECOND))
        .unwrap();
    pair.advance(SECOND);
    pair.settle();
    assert_eq!(pair.server.happened(), [Happened::Call(id)]);
    assert_eq!(pair.timeout(), Some(4 * SECOND));
    pair.advance(4 * SECOND);
    assert_eq!(pair.client.happened(), [Happened::Readable(id)]);
    assert!(pair.client.receive_error(id).is_timeout());
    assert_eq!(pair.server.happened(), []);
    assert_eq!(pair.timeout(), Some(SECOND));
    pair.advance(SECOND);
    assert_eq!(pair.server.happened(), [Happened::Ended(id)]);
    pair.settle();
    assert_eq!(pair.client.happened(), []);
    pair.assert_idle();
}

/// Many calls with deadlines, answered at random or never: nothing fires early, nothing
/// is forgotten, and `timeout` never makes a driver turn in circles.
#[test]
fn deadlines_at_random() {
    for seed in 0..20 {
        let mut pair = Pair::new(seed);
        let mut random = Random::new(seed + 1000);
        let start = pair.client.now;
        let mut due = std::collections::BTreeMap::new();
        for _ in 0..50 {
            let within = MILLISECOND * (1 + random.below(500) as u32);
            let id = pair
                .client
                .try_open(CallKind::Unary, None, Some(within))
                .unwrap();
            due.insert(id, within);
        }
        pair.settle();
        let mut turns = 0;
        while let Some(left) = pair.timeout() {
            assert!(left > Duration::ZERO, "what is due has been handled");
            if random.below(2) == 0 {
                let call = pair
                    .server
                    .calls
                    .pop_front()
                    .map_or(1, |call| call.id.get());
                pair.server.respond(call, Ok(b"in time"));
                pair.settle();
            }
            pair.advance(left);
            pair.settle();
            let now = pair.client.now - start;
            for id in due.keys().copied().collect::<Vec<_>>() {
                match &pair.client.receive(id)[..] {
                    [] => assert!(now < due[&id], "{id} is due"),
                    [Got::Failed(4)] => assert_eq!(Some(now), due.remove(&id)),
                    [Got::Reply(_)] => assert!(now <= due.remove(&id).unwrap()),
                    other => panic!("{other:?}"),
                }
            }
            turns += 1;
        }
        assert!(due.is_empty() && turns <= 50, "{turns} turns");
        pair.assert_idle();
    }
}

/// A reader that pauses holds everything up in turn, inbox, pipe, output, the far handler
/// and its own sending, within their bounds; when it goes on nothing is lost.
#[test]
fn everything_is_bounded_behind_a_reader_that_pauses() {
    let mut pair = Pair::with(5, 1, |limits| {
        limits.inbox_bytes = 20_000;
        limits.output_bytes = 5000;
        limits.backlog_bytes = 5000;
    });
    pair.client.open(CallKind::BidiStreaming, None);
    let (mut sent, mut echoed, mut got) = (0u32, Vec::new(), Vec::new());
    for turn in 0..3000 {
        while sent < 10_000 && pair.client.link().has_room() {
            pair.client
                .send(1, &[&sent.to_be_bytes()[..], &[0; 46]].concat())
                .unwrap();
            sent += 1;
        }
        while pair.server.link().has_room() {
            if echoed.is_empty() && pair.server.link().streams() > 0 {
                echoed = pair.server.receive(1);
                echoed.reverse();
            }
            let Some(Got::Message(message)) = echoed.pop() else {
                break;
            };
            pair.server.send(1, &message).unwrap();
        }
        pair.carry();
        assert!(pair.client.link().backlog() <= 5060 && pair.server.link().backlog() <= 5060);
        if turn == 300 {
            assert!(sent < 3000, "{sent} messages are on their way");
            assert!(!pair.client.endpoint.wants_read(), "the inbox is full");
            let left = pair.timeout_left();
            pair.advance(left - MILLISECOND);
        }
        if turn > 300 {
            got.extend(pair.client.receive(1));
        }
    }
    assert_eq!(got.len(), 10_000);
    for (n, got) in got.iter().enumerate() {
        assert!(matches!(got, Got::Message(m) if m[..4] == (n as u32).to_be_bytes()));
    }
}

impl Pair {
    fn timeout_left(&mut self) -> Duration {
        self.timeout().expect("a full inbox has a time")
    }
}

/// A reader that never goes on loses its call, at the client or at the server, and frees
/// the others.
#[test]
fn reader_that_stops_loses_its_call_and_frees_the_others() {
    for at_client in [true, false] {
        let mut pair = Pair::with(6, 1, |limits| {
            limits.inbox_bytes = 5000;
            limits.output_bytes = 5000;
            limits.backlog_bytes = 5000;
        });
        pair.client.open(CallKind::BidiStreaming, None);
        pair.settle();
        for _ in 0..1000 {
            if at_client && pair.server.link().has_room() {
                pair.server.send(1, &[0; 50]).unwrap();
            } else if !at_client && pair.client.link().has_room() {
                pair.client.send(1, &[0; 50]).unwrap();
            }
            pair.carry();
        }
        let id = pair.client.open(CallKind::Unary, Some(b"held up"));
        pair.settle();
        // A server whose replies are not read does not read either.
        assert!(
            pair.server
                .calls
                .iter()
                .all(|call| call.id != stream_id(id))
        );
        pair.server.happened();
        pair.client.happened();
        let left = pair.timeout_left();
        assert!(left <= SECOND);
        pair.advance(left);
        pair.settle();
        if at_client {
            assert!(pair.client.happened().contains(&Happened::Ended(1)));
            // The server learns that there will be no more requests.
            let happened = [Happened::Call(id), Happened::Readable(1)];
            assert_eq!(pair.server.happened(), happened);
        } else {
            let happened = [Happened::Ended(1), Happened::Call(id)];
            assert_eq!(pair.server.happened(), happened);
        }
        pair.server.respond(id, Ok(b"free"));
        pair.settle();
        assert_eq!(pair.client.receive(id), [Got::Reply("free".into())]);
        assert_eq!(pair.client.receive(1).last(), Some(&Got::Failed(8)));
        assert_eq!(pair.client.link().streams(), 0);
    }
}

/// 4 MiB each way, through pipes that hold 8 KiB.
#[test]
fn largest_messages_come_through() {
    let mut pair = Pair::new(7);
    pair.client.open(CallKind::BidiStreaming, None);
    let largest = vec![0xa5; 4 << 20];
    pair.client.send(1, &largest).unwrap();
    pair.settle();
    let got = pair.server.receive(1);
    assert!(matches!(&got[..], [Got::Message(message)] if *message == largest));
    pair.server.send(1, &largest).unwrap();
    pair.server.finish(1, Ok(()));
    pair.settle();
    let got = pair.client.receive(1);
    assert!(matches!(&got[..], [Got::Message(message), Got::Closed] if *message == largest));
    pair.assert_idle();
}

/// An end that goes away takes nothing of the other with it.
#[test]
fn abandoned_calls_end_at_both_ends() {
    let mut pair = Pair::new(8);
    pair.client.open(CallKind::BidiStreaming, None);
    pair.settle();
    pair.client.endpoint.abandon(stream_id(1));
    pair.settle();
    assert_eq!(
        pair.server.receive(1),
        [Got::Closed],
        "the handler hears of it"
    );
    pair.server.send(1, b"nobody reads this").unwrap();
    pair.server.finish(1, Ok(()));
    assert_eq!(
        pair.server.sent().last(),
        Some(&Sent::Data(1, CLOSED | NO_DATA, vec![]))
    );
    pair.settle();
    pair.assert_idle();
}
