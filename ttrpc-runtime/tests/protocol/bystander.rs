//! "Lives": the connection goes on and every other call on it is unaffected.

use ttrpc_runtime::proto::CallKind;

use crate::frames::{CLOSED, NO_DATA, NONE, OPEN, Sent, data, request};
use crate::simulation::{Got, Happened, Server, message, stream_id};

/// The first id that the calls under way leave free.
pub const FREE: u32 = 5;

/// A server with two calls under way: a stream both ways on 1, a unary call on 3.
pub fn server() -> Server {
    with_calls_under_way(Server::with(|_| {}))
}

pub fn with_calls_under_way(mut server: Server) -> Server {
    server.feed(request(1, OPEN, b""));
    server.feed(request(3, NONE, b"ask"));
    server
        .endpoint
        .accept(stream_id(1), CallKind::BidiStreaming);
    server.endpoint.accept(stream_id(3), CallKind::Unary);
    assert_eq!(server.happened(), [Happened::Call(1), Happened::Call(3)]);
    assert_eq!(server.link().streams(), 2);
    assert_eq!(server.sent(), []);
    server
}

/// Nothing but the two calls is open, both go on to their ends, and a new one is served.
pub fn assert_lives(server: &mut Server, row: &str) {
    assert!(server.failure.is_none(), "{row}: {:?}", server.failure);
    assert_eq!(server.link().streams(), 2, "{row}");

    server.feed(data(1, NONE, b"there?"));
    assert_eq!(server.receive(1), [message(b"there?")], "{row}");
    server.send(1, b"here").unwrap();
    assert_eq!(server.respond(3, Ok(b"answer")), Some(3), "{row}");
    server.feed(data(1, CLOSED | NO_DATA, b""));
    assert_eq!(server.receive(1), [Got::Closed], "{row}");
    assert_eq!(server.finish(1, Ok(())), Some(1), "{row}");
    let expected = [
        Sent::Data(1, NONE, b"here".to_vec()),
        Sent::Reply(3, b"answer".to_vec()),
        Sent::Data(1, CLOSED | NO_DATA, vec![]),
    ];
    assert_eq!(server.sent(), expected, "{row}");

    server.happened();
    let new = u32::MAX;
    server.feed(request(new, NONE, b""));
    assert_eq!(server.happened(), [Happened::Call(new)], "{row}");
    server.respond(new, Ok(b""));
    assert_eq!(server.sent(), [Sent::Reply(new, vec![])], "{row}");
    assert_eq!(server.link().streams(), 0, "{row}");
    assert_eq!(server.timeout(), None, "{row}");
}

/// Feeds `input` to a server in pieces of several sizes: it leads to these events and
/// these frames, and the connection lives.
pub fn check(row: &str, input: &[u8], happened: &[Happened], sent: &[Sent]) {
    for cut in [1, 7, usize::MAX] {
        let mut server = server();
        server.feed_cut(input, cut);
        assert_eq!(server.happened(), happened, "{row}, {cut} bytes at a time");
        assert_eq!(server.sent(), sent, "{row}, {cut} bytes at a time");
        assert_lives(&mut server, row);
    }
}
