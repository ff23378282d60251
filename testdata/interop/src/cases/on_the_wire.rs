//! Frames that a server has to understand, and those that it answers with.

use protobuf::Message;
use ttrpc_runtime::Code;
use ttrpc_runtime::frame::MessageType;

use crate::frames::{
    DATA, MAX_DATA, NO_DATA, REMOTE_CLOSED, REMOTE_OPEN, REQUEST, RESPONSE, header, request,
};
use crate::messages::{BytesValue, Empty, Int64Value, bytes, int, pattern, text};
use crate::outcome::{Case, Outcome, cases, check, check_eq, not_applicable, pass};
use crate::peers::Target;

pub const CASES: &[Case<Target>] = cases![
    frames_of_a_unary_call,
    frames_of_a_server_stream,
    frames_of_a_client_stream,
    frames_of_a_bidi_stream,
    close_is_0x05,
    close_is_0x01_alone,
    close_is_0x01_with_a_message,
    stream_opened_with_0x06,
    opening_a_client_stream_is_no_message,
    first_message_with_the_opening,
    data_while_the_server_is_done,
    data_on_a_stream_that_never_was,
    data_on_a_unary_call,
    data_after_the_close,
    frame_over_4_mib,
    reserved_byte_of_the_length,
    request_that_is_no_envelope,
    payload_that_is_no_message,
    negative_timeout,
    unknown_type_and_flags,
    cancel_of_our_extension,
    camel_case_name_of_a_method,
    flags_do_not_decide_what_kind_it_is,
];

async fn frames_of_a_unary_call(server: &Target) -> Outcome {
    let mut frames = server.frames().await?;
    frames.request(1, 0, "Echo", &bytes(*b"hello")).await?;
    let reply = frames.expect(1).await?;
    check_eq!(
        (reply.kind, reply.flags),
        (RESPONSE, 0),
        "the type and flags"
    );
    // A success carries no status, not even an empty one.
    check_eq!(reply.data, b"\x12\x07\x0a\x05hello", "the data");
    pass()
}

async fn frames_of_a_server_stream(server: &Target) -> Outcome {
    let mut frames = server.frames().await?;
    frames
        .request(1, REMOTE_CLOSED, "Parts", &text("0 3"))
        .await?;
    for expected in [&b""[..], b"\x0a\x03\0\0\0"] {
        let frame = frames.expect(1).await?;
        check!(
            frame.kind == DATA && frame.flags == 0 && frame.data == expected,
            "the message is {frame:?}"
        );
    }
    frames.expect_end(1).await?;
    pass()
}

async fn frames_of_a_client_stream(server: &Target) -> Outcome {
    let mut frames = server.frames().await?;
    frames.request(1, REMOTE_OPEN, "Sum", &Empty::new()).await?;
    frames.data(1, &pattern(1, 10)).await?;
    frames.data(1, &pattern(2, 20)).await?;
    frames.close(1).await?;
    let sum: Int64Value = frames.expect(1).await?.message()?;
    check_eq!(sum, int(30), "the sum");
    pass()
}

async fn frames_of_a_bidi_stream(server: &Target) -> Outcome {
    let mut frames = server.frames().await?;
    frames
        .request(1, REMOTE_OPEN, "Chat", &Empty::new())
        .await?;
    for size in [10, 0, 20] {
        frames.data(1, &pattern(1, size)).await?;
        let frame = frames.expect(1).await?;
        check_eq!((frame.kind, frame.flags), (DATA, 0), "the type and flags");
        check_eq!(
            frame.message::<BytesValue>()?,
            pattern(1, size),
            "the reply"
        );
    }
    frames.close(1).await?;
    frames.expect_end(1).await?;
    pass()
}

async fn close_is_0x05(server: &Target) -> Outcome {
    count(server, REMOTE_CLOSED | NO_DATA, 2).await
}

/// What is not marked as no data is a message, and an empty one is one too.
async fn close_is_0x01_alone(server: &Target) -> Outcome {
    count(server, REMOTE_CLOSED, 3).await
}

/// Sends two empty messages and a close, to see how many have come.
async fn count(server: &Target, close: u8, expected: i64) -> Outcome {
    let mut frames = server.frames().await?;
    frames
        .request(1, REMOTE_OPEN, "Count", &Empty::new())
        .await?;
    frames.data(1, &Empty::new()).await?;
    frames.data(1, &Empty::new()).await?;
    frames.send(1, DATA, close, &[]).await?;
    let count: Int64Value = frames.expect(1).await?.message()?;
    check_eq!(count, int(expected), "the number of messages");
    frames.expect_alive(3).await?;
    pass()
}

async fn close_is_0x01_with_a_message(server: &Target) -> Outcome {
    let mut frames = server.frames().await?;
    frames.request(1, REMOTE_OPEN, "Sum", &Empty::new()).await?;
    frames.data(1, &pattern(1, 10)).await?;
    let last = pattern(2, 20).write_to_bytes()?;
    frames.send(1, DATA, REMOTE_CLOSED, &last).await?;
    if server.kind.is_go() {
        let codes = [
            frames.expect(1).await?.code()?,
            frames.expect(1).await?.code()?,
        ];
        check!(
            codes.contains(&Code::OK) && codes.contains(&Code::INVALID_ARGUMENT),
            "the codes are {codes:?}"
        );
        return not_applicable("Go takes the message, but answers twice: 3, and the reply");
    }
    let sum: Int64Value = frames.expect(1).await?.message()?;
    check_eq!(sum, int(30), "the sum");
    frames.expect_alive(3).await?;
    pass()
}

/// So does the crate `ttrpc`.
async fn stream_opened_with_0x06(server: &Target) -> Outcome {
    let mut frames = server.frames().await?;
    let flags = REMOTE_OPEN | NO_DATA;
    frames.request(1, flags, "Sum", &Empty::new()).await?;
    frames.data(1, &pattern(1, 10)).await?;
    frames.close(1).await?;
    let sum: Int64Value = frames.expect(1).await?.message()?;
    check_eq!(sum, int(10), "the sum");
    pass()
}

async fn opening_a_client_stream_is_no_message(server: &Target) -> Outcome {
    let mut frames = server.frames().await?;
    frames
        .request(1, REMOTE_OPEN, "Count", &Empty::new())
        .await?;
    frames.close(1).await?;
    let count: Int64Value = frames.expect(1).await?.message()?;
    check_eq!(count, int(0), "the number of messages");
    pass()
}

async fn first_message_with_the_opening(server: &Target) -> Outcome {
    let mut frames = server.frames().await?;
    frames
        .request(1, REMOTE_OPEN, "Sum", &pattern(1, 10))
        .await?;
    frames.data(1, &pattern(2, 20)).await?;
    frames.close(1).await?;
    let sum: Int64Value = frames.expect(1).await?.message()?;
    check_eq!(sum, int(30), "the sum");
    pass()
}

async fn data_while_the_server_is_done(server: &Target) -> Outcome {
    if server.kind.is_go_before(8) {
        return not_applicable("Go before 1.2.8 dies of it");
    }
    let mut frames = server.frames().await?;
    frames
        .request(1, REMOTE_OPEN, "First", &Empty::new())
        .await?;
    frames.data(1, &pattern(1, 10)).await?;
    let first: BytesValue = frames.expect(1).await?.message()?;
    check_eq!(first, pattern(1, 10), "the reply");
    for _ in 0..10 {
        frames.data(1, &pattern(2, 10)).await?;
        let code = frames.expect(1).await?.code()?;
        check_eq!(code, Code::INVALID_ARGUMENT, "the code of late data");
    }
    frames.close(1).await?;
    let code = frames.expect(1).await?.code()?;
    check_eq!(code, Code::INVALID_ARGUMENT, "the code of a late close");
    frames.expect_alive(3).await?;
    pass()
}

async fn data_on_a_stream_that_never_was(server: &Target) -> Outcome {
    if server.kind.is_go_before(8) {
        return not_applicable("Go before 1.2.8 dies of it");
    }
    let mut frames = server.frames().await?;
    frames.data(7, &pattern(1, 10)).await?;
    let code = frames.expect(7).await?.code()?;
    check_eq!(code, Code::INVALID_ARGUMENT, "the code");
    frames.expect_alive(9).await?;
    pass()
}

async fn data_on_a_unary_call(server: &Target) -> Outcome {
    if server.kind.is_go() {
        return not_applicable("Go dies of it, in every version");
    }
    let mut frames = server.frames().await?;
    frames.request(1, 0, "Hold", &text("held")).await?;
    server.wait_for("started", 1).await?;
    frames.data(1, &pattern(1, 10)).await?;
    let code = frames.expect(1).await?.code()?;
    check_eq!(code, Code::INVALID_ARGUMENT, "the code of the data");
    server.release().await?;
    let reply = frames.expect(1).await?.message()?;
    check_eq!(text("held"), reply, "the reply");
    frames.expect_alive(3).await?;
    pass()
}

async fn data_after_the_close(server: &Target) -> Outcome {
    let mut frames = server.frames().await?;
    frames
        .request(1, REMOTE_OPEN, "ChatHold", &Empty::new())
        .await?;
    frames.data(1, &pattern(1, 10)).await?;
    let reply = frames.expect(1).await?.message()?;
    check_eq!(pattern(1, 10), reply, "the reply");
    server.wait_for("started", 1).await?;
    frames.close(1).await?;
    frames.data(1, &pattern(1, 10)).await?;
    let code = frames.expect(1).await?.code()?;
    check_eq!(code, Code::INVALID_ARGUMENT, "the code");
    if !server.kind.is_go() {
        server.wait_for("cancelled", 1).await?;
    }
    frames.expect_alive(3).await?;
    pass()
}

async fn frame_over_4_mib(server: &Target) -> Outcome {
    let mut frames = server.frames().await?;
    let data = vec![0; MAX_DATA + 1];
    frames.send(1, REQUEST, 0, &data).await?;
    let code = frames.expect(1).await?.code()?;
    check_eq!(code, Code::RESOURCE_EXHAUSTED, "the code");
    frames.expect_alive(3).await?;
    pass()
}

async fn reserved_byte_of_the_length(server: &Target) -> Outcome {
    if server.kind.is_go() {
        return not_applicable("Go reads on for as many bytes as the length says");
    }
    let mut frames = server.frames().await?;
    frames.write(&header(1 << 24, 1, REQUEST, 0)).await?;
    check_eq!(frames.next().await?, None, "what the server says");
    server.frames().await?.expect_alive(1).await?;
    pass()
}

async fn request_that_is_no_envelope(server: &Target) -> Outcome {
    let mut frames = server.frames().await?;
    frames.send(1, REQUEST, 0, b"\xff\xff\xff").await?;
    let code = frames.expect(1).await?.code()?;
    check_eq!(code, Code::INVALID_ARGUMENT, "the code");
    frames.expect_alive(3).await?;
    pass()
}

async fn payload_that_is_no_message(server: &Target) -> Outcome {
    let mut frames = server.frames().await?;
    let mut request = request("Echo", &Empty::new())?;
    request.payload = b"\xff\xff\xff"[..].into();
    let data = request.write_to_bytes()?;
    frames.send(1, REQUEST, 0, &data).await?;
    let code = frames.expect(1).await?.code()?;
    check_eq!(code, Code::INTERNAL, "the code");
    frames.expect_alive(3).await?;
    pass()
}

async fn negative_timeout(server: &Target) -> Outcome {
    let mut frames = server.frames().await?;
    let mut request = request("Hold", &text("a"))?;
    request.timeout_nano = -1;
    let data = request.write_to_bytes()?;
    frames.send(1, REQUEST, 0, &data).await?;
    let code = frames.expect(1).await?.code()?;
    check_eq!(code, Code::DEADLINE_EXCEEDED, "the code");
    frames.expect_alive(3).await?;
    if server.kind.is_go() {
        return not_applicable("Go runs the handler all the same; it finds its context ended");
    }
    check_eq!(server.count("started").await?, 0, "handlers that ran");
    pass()
}

async fn unknown_type_and_flags(server: &Target) -> Outcome {
    let mut frames = server.frames().await?;
    for kind in [0, 4, 200, RESPONSE] {
        frames.send(1, kind, 0xff, b"whatever").await?;
    }
    frames.request(3, 0xf0, "Echo", &bytes(*b"a")).await?;
    let reply: BytesValue = frames.expect(3).await?.message()?;
    check_eq!(reply, bytes(*b"a"), "the reply");
    frames.expect_alive(5).await?;
    pass()
}

/// Nobody but us knows the frame, and nobody minds it: on a call that runs, on one that is
/// over, on one that never was.
async fn cancel_of_our_extension(server: &Target) -> Outcome {
    let mut frames = server.frames().await?;
    frames.request(1, 0, "Hold", &text("a")).await?;
    frames.request(3, 0, "Echo", &bytes(*b"a")).await?;
    frames.expect(3).await?;
    for id in [1, 3, 5] {
        frames.send(id, MessageType::CANCEL.0, 0, b"").await?;
    }
    frames.expect_alive(7).await?;
    pass()
}

/// Go's servers know no other name, and its clients call streams by it.
async fn camel_case_name_of_a_method(server: &Target) -> Outcome {
    let mut frames = server.frames().await?;
    frames.request(1, 0, "SnakeCase", &text("a")).await?;
    let reply = frames.expect(1).await?.message()?;
    check_eq!(text("a"), reply, "the reply");
    pass()
}

/// The method does.
async fn flags_do_not_decide_what_kind_it_is(server: &Target) -> Outcome {
    let mut frames = server.frames().await?;
    for (id, flags) in [(1, REMOTE_CLOSED), (3, REMOTE_OPEN)] {
        frames.request(id, flags, "Echo", &bytes(*b"a")).await?;
        let reply = frames.expect(id).await?.message()?;
        check_eq!(
            bytes(*b"a"),
            reply,
            "the reply to a unary call with {flags:#04x}"
        );
    }
    for (id, flags) in [(5, 0), (7, REMOTE_OPEN)] {
        frames.request(id, flags, "Numbers", &int(1)).await?;
        let message = frames.expect(id).await?.message()?;
        check_eq!(int(0), message, "the message of a stream with {flags:#04x}");
        frames.expect_end(id).await?;
    }
    pass()
}
