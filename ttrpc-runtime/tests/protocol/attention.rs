//! What keeps a driver from sleeping through something: a forgotten one hangs.

use std::time::Duration;

use ttrpc_runtime::proto::{CallKind, Endpoint};

use crate::frames::{NONE, OPEN, data, request};
use crate::simulation::{Client, Server, stream_id};

const SECOND: Duration = Duration::from_secs(1);

/// Bytes that nobody writes are told of for as long as they wait, and they alone.
#[test]
fn bytes_wait_until_they_are_taken() {
    let mut client = Client::with(|_| {});
    assert!(!client.link().has_output());
    client.open(CallKind::Unary, None);
    assert!(client.link().has_output());
    assert!(client.link().has_output(), "they wait still");
    // Being written: whoever writes looks again by itself.
    client.write(1);
    client.open(CallKind::Unary, None);
    assert!(!client.link().has_output());
    client.write(usize::MAX);
    assert!(!client.link().has_output());
    assert!(!client.link().take_attention());
}

/// A deadline that is earlier than what a timer is set to, and only such a one.
#[test]
fn earlier_deadline_wants_attention() {
    let mut client = Client::with(|_| {});
    for (within, earlier) in [(5, true), (7, false), (3, true), (3, false)] {
        client
            .try_open(CallKind::Unary, None, Some(within * SECOND))
            .unwrap();
        client.write(1);
        assert_eq!(client.link().take_attention(), earlier, "{within} s");
        client.write(usize::MAX);
    }
    assert_eq!(client.timeout(), Some(3 * SECOND));
}

/// A full inbox that is read, or that nobody wants any more: go on reading.
#[test]
fn end_of_a_stall_wants_attention() {
    type End = fn(&mut Server);
    let ends: [End; 2] = [
        |server| assert_eq!(server.receive(1).len(), 2),
        |server| assert_eq!(server.endpoint.abandon(stream_id(1)), None),
    ];
    for end in ends {
        let mut server = Server::with(|limits| limits.inbox_bytes = 100);
        server.feed(request(1, OPEN, b""));
        server.feed([data(1, NONE, &[0; 90]), data(1, NONE, &[0; 90])].concat());
        assert!(!server.endpoint.wants_read());
        assert!(!server.link().take_attention());
        end(&mut server);
        assert!(server.link().take_attention());
        assert!(server.endpoint.wants_read());
    }
}

/// The end of the last stream of a connection that shuts down.
#[test]
fn end_of_the_last_stream_wants_attention_at_a_shut_down() {
    for shut_down in [false, true] {
        let mut client = Client::with(|_| {});
        for _ in 0..2 {
            client.open(CallKind::Unary, None);
        }
        client.write(usize::MAX);
        if shut_down {
            client.endpoint.shut_down();
            assert!(client.link().take_attention());
        }
        client.endpoint.abandon(stream_id(1));
        assert!(!client.link().take_attention(), "one is open still");
        client.endpoint.abandon(stream_id(3));
        assert_eq!(client.link().take_attention(), shut_down);
        assert_eq!(client.link().is_drained(), shut_down);
    }
}

/// A connection that is given up writes nothing more.
#[test]
fn discarded_output_is_gone() {
    let mut server = Server::with(|_| {});
    server.feed(request(1, OPEN, b""));
    server.send(1, &[0; 50_000]).unwrap();
    assert_eq!(server.link().backlog(), 50_010);
    server.link().discard();
    assert_eq!(server.link().backlog(), 0);
    assert_eq!(server.sent(), []);
}
