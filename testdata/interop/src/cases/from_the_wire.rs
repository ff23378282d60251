//! Frames that our client sends, and those that it has to understand.

use std::time::Duration;

use protobuf::Message;
use ttrpc_runtime::{Code, Context, Result, Streaming};

use crate::caller::{Caller, SERVICE};
use crate::frames::{DATA, Frames, REMOTE_CLOSED, REMOTE_OPEN, REQUEST, RESPONSE};
use crate::messages::{BytesValue, Empty, bytes, int, pattern, text};
use crate::outcome::{
    Case, Failure, Outcome, cases, check, check_eq, failed, not_applicable, pass, patiently,
};
use crate::peers::Script;
use crate::protos::interop_ttrpc::Interop;

use super::{all, collect};

pub const CASES: &[Case<Script>] = cases![
    opening_of_a_unary_call,
    opening_of_a_server_stream,
    opening_of_a_client_stream,
    metadata_and_deadline_of_a_stream,
    close_is_sent_without_data,
    ids_grow_by_two,
    end_is_0x01_alone,
    end_is_0x01_with_a_message,
    nothing_is_sent_after_the_reply,
    nothing_is_sent_after_the_end,
    nothing_is_sent_after_an_end_that_nobody_has_read,
    late_frames_are_dropped,
    replies_nobody_asked_for,
    response_that_is_no_envelope,
    data_on_a_unary_call,
    frame_over_4_mib,
    end_of_the_connection,
];

type Echo = tokio::task::JoinHandle<Result<BytesValue>>;

fn echo(client: &Caller) -> Echo {
    let client = client.clone();
    tokio::spawn(async move { client.echo(&Context::new(), bytes(*b"a")).await })
}

/// Checks that the client still calls, with that id, and is still answered, with nothing
/// in between.
async fn expect_alive(client: &Caller, server: &mut Frames, id: u32) -> Outcome<()> {
    expect_answered(echo(client), server, id).await
}

/// Answers the call that has to come next.
async fn expect_answered(call: Echo, server: &mut Frames, id: u32) -> Outcome<()> {
    let request = server.expect(id).await?.request()?;
    check_eq!(request.method, "Echo", "the method");
    server.reply(id, &pattern(1, 10)).await?;
    check_eq!(call.await??, pattern(1, 10), "the reply");
    Ok(())
}

async fn opening_of_a_unary_call(script: &Script) -> Outcome {
    let (client, mut server) = script.connect().await?;
    let call = echo(&client);
    let frame = server.expect(1).await?;
    check_eq!(
        (frame.kind, frame.flags),
        (REQUEST, 0),
        "the type and flags"
    );
    let request = frame.request()?;
    let expected = crate::frames::request("Echo", &bytes(*b"a"))?;
    check_eq!(request, expected, "the envelope");
    check_eq!(request.service, SERVICE, "the service");
    server.reply(1, &bytes(*b"b")).await?;
    check_eq!(call.await??, bytes(*b"b"), "the reply");
    pass()
}

async fn opening_of_a_server_stream(script: &Script) -> Outcome {
    let (client, mut server) = script.connect().await?;
    let replies = client.numbers(&Context::new(), int(1)).await?;
    let frame = server.expect(1).await?;
    check_eq!(
        (frame.kind, frame.flags),
        (REQUEST, REMOTE_CLOSED),
        "the type and flags"
    );
    check_eq!(frame.request()?.payload, &b"\x08\x01"[..], "the payload");
    server.data(1, &int(5)).await?;
    server.close(1).await?;
    check_eq!(all(replies).await?, [int(5)], "the messages");
    pass()
}

async fn opening_of_a_client_stream(script: &Script) -> Outcome {
    let (client, mut server) = script.connect().await?;
    let (sender, requests) = Streaming::channel(1);
    let replies = client.chat(&Context::new(), requests).await?;
    let frame = server.expect(1).await?;
    check_eq!(
        (frame.kind, frame.flags),
        (REQUEST, REMOTE_OPEN),
        "the type and flags"
    );
    check_eq!(frame.request()?.payload, &b""[..], "the payload");
    sender.send(BytesValue::new()).await?;
    let frame = server.expect(1).await?;
    check_eq!(
        (frame.kind, frame.flags),
        (DATA, 0),
        "the type and flags of a message"
    );
    check_eq!(frame.data, b"", "the data of an empty message");
    server.close(1).await?;
    check_eq!(all(replies).await?, [], "the messages");
    pass()
}

async fn metadata_and_deadline_of_a_stream(script: &Script) -> Outcome {
    let (client, mut server) = script.connect().await?;
    let mut ctx = Context::new().with_timeout(Duration::from_secs(3600));
    ctx.metadata_mut().append("Key", "a");
    ctx.metadata_mut().append("key", "b");
    let (_sender, requests) = Streaming::channel(1);
    let _replies = client.chat(&ctx, requests).await?;
    let request = server.expect(1).await?.request()?;
    if script.client.kind.is_go() {
        check_eq!(
            (request.metadata.len(), request.timeout_nano),
            (0, 0),
            "what Go sends"
        );
        return not_applicable("Go's clients send neither on streams");
    }
    let metadata: Vec<_> = request
        .metadata
        .iter()
        .map(|pair| (pair.key.as_str(), pair.value.as_str()))
        .collect();
    check_eq!(metadata, [("key", "a"), ("key", "b")], "the metadata");
    let timeout = request.timeout_nano;
    check!(
        timeout > 0 && timeout <= 3_600_000_000_000,
        "{timeout} nanoseconds of an hour"
    );
    pass()
}

async fn close_is_sent_without_data(script: &Script) -> Outcome {
    let (client, mut server) = script.connect().await?;
    let requests = Streaming::from_iter([bytes(*b"a")]);
    let call = tokio::spawn(async move { client.sum(&Context::new(), requests).await });
    let request = server.expect(1).await?.request()?;
    check_eq!(request.method, "Sum", "the method");
    let message: BytesValue = server.expect(1).await?.message()?;
    check_eq!(message, bytes(*b"a"), "the message");
    server.expect_end(1).await?;
    server.reply(1, &int(1)).await?;
    check_eq!(call.await??, int(1), "the reply");
    pass()
}

async fn ids_grow_by_two(script: &Script) -> Outcome {
    let (client, mut server) = script.connect().await?;
    let calls: Vec<_> = (0..100).map(|_| echo(&client)).collect();
    for call in 0..100 {
        server.expect(1 + 2 * call).await?.request()?;
    }
    for call in (0..100).rev() {
        server.reply(1 + 2 * call, &bytes(*b"b")).await?;
    }
    for call in calls {
        check_eq!(call.await??, bytes(*b"b"), "the reply");
    }
    pass()
}

/// What is not marked as no data is a message, and an empty one is one too.
async fn end_is_0x01_alone(script: &Script) -> Outcome {
    end_with(script, BytesValue::new()).await
}

async fn end_is_0x01_with_a_message(script: &Script) -> Outcome {
    end_with(script, bytes(*b"last")).await
}

async fn end_with(script: &Script, last: BytesValue) -> Outcome {
    let (client, mut server) = script.connect().await?;
    let replies = client.parts(&Context::new(), text("?")).await?;
    server.expect(1).await?.request()?;
    server.data(1, &bytes(*b"first")).await?;
    let data = last.write_to_bytes()?;
    server.send(1, DATA, REMOTE_CLOSED, &data).await?;
    let messages = all(replies).await?;
    check_eq!(messages, [bytes(*b"first"), last], "the messages");
    expect_alive(&client, &mut server, 3).await?;
    pass()
}

const GO_SENDS: &str = "Go's clients go on to send";

/// Go's servers before 1.2.8 die of anything else.
async fn nothing_is_sent_after_the_reply(script: &Script) -> Outcome {
    if script.client.kind.is_go() {
        return not_applicable(GO_SENDS);
    }
    let (client, mut server) = script.connect().await?;
    let (sender, requests) = Streaming::channel(1);
    let calling = client.clone();
    let call = tokio::spawn(async move { calling.first(&Context::new(), requests).await });
    server.expect(1).await?.request()?;
    sender.send(bytes(*b"a")).await?;
    server.expect(1).await?;
    server.reply(1, &bytes(*b"early")).await?;
    check_eq!(call.await??, bytes(*b"early"), "the reply");
    let late = sender.send(bytes(*b"b")).await;
    check!(late.is_err(), "a message was taken after the reply");
    drop(sender);
    expect_alive(&client, &mut server, 3).await?;
    pass()
}

async fn nothing_is_sent_after_the_end(script: &Script) -> Outcome {
    if script.client.kind.is_go() {
        return not_applicable(GO_SENDS);
    }
    let (client, mut server) = script.connect().await?;
    let (sender, requests) = Streaming::channel(1);
    let replies = client.chat(&Context::new(), requests).await?;
    server.expect(1).await?.request()?;
    server.close(1).await?;
    check_eq!(all(replies).await?, [], "the messages");
    let late = sender.send(bytes(*b"b")).await;
    check!(late.is_err(), "a message was taken after the end");
    drop(sender);
    expect_alive(&client, &mut server, 3).await?;
    pass()
}

async fn nothing_is_sent_after_an_end_that_nobody_has_read(script: &Script) -> Outcome {
    if script.client.kind.is_go() {
        return not_applicable(GO_SENDS);
    }
    let (client, mut server) = script.connect().await?;
    let (sender, requests) = Streaming::channel(1);
    let replies = client.chat(&Context::new(), requests).await?;
    server.expect(1).await?.request()?;
    server.close(1).await?;
    // The client has seen the end when it has seen what came behind it. What stands
    // between it and the sender may still take a message: it goes no further.
    expect_alive(&client, &mut server, 3).await?;
    let refused = async { while sender.send(bytes(*b"b")).await.is_ok() {} };
    patiently("the sender's error", refused).await?;
    drop(sender);
    expect_alive(&client, &mut server, 5).await?;
    check_eq!(all(replies).await?, [], "the messages");
    pass()
}

async fn late_frames_are_dropped(script: &Script) -> Outcome {
    if script.client.kind.is_go_before(9) {
        return not_applicable("Go before 1.2.9 stalls at the second of them");
    }
    let (client, mut server) = script.connect().await?;
    let (ctx, canceller) = Context::new().with_cancel();
    let mut replies = client.hold_open(&ctx, text("a")).await?;
    server.expect(1).await?.request()?;
    server.data(1, &text("a")).await?;
    check_eq!(replies.message().await?, Some(text("a")), "the message");
    canceller.cancel();
    failed(replies.message().await, Code::CANCELLED, "the stream")?;
    server.data(1, &text("a")).await?;
    server.reply(1, &text("a")).await?;
    server.close(1).await?;
    expect_alive(&client, &mut server, 3).await?;
    pass()
}

async fn replies_nobody_asked_for(script: &Script) -> Outcome {
    let (client, mut server) = script.connect().await?;
    expect_alive(&client, &mut server, 1).await?;
    for id in [0, 1, 2, 99] {
        server.reply(id, &bytes(*b"x")).await?;
        server.data(id, &bytes(*b"x")).await?;
        server.close(id).await?;
    }
    for kind in [0, REQUEST, 4, 200] {
        server.send(1, kind, 0xff, b"whatever").await?;
    }
    expect_alive(&client, &mut server, 3).await?;
    pass()
}

async fn response_that_is_no_envelope(script: &Script) -> Outcome {
    let (client, mut server) = script.connect().await?;
    let (broken, other) = (echo(&client), echo(&client));
    server.expect(1).await?.request()?;
    server.expect(3).await?.request()?;
    server.send(1, RESPONSE, 0, b"\xff\xff\xff").await?;
    server.reply(3, &bytes(*b"b")).await?;
    // Either of the two may have come first.
    let results = [broken.await?, other.await?];
    let failures = results.iter().filter(|result| result.is_err()).count();
    check_eq!(failures, 1, "calls that failed");
    expect_alive(&client, &mut server, 5).await?;
    pass()
}

async fn data_on_a_unary_call(script: &Script) -> Outcome {
    let (client, mut server) = script.connect().await?;
    let call = echo(&client);
    server.expect(1).await?.request()?;
    server.data(1, &bytes(*b"b")).await?;
    let result = call.await?;
    check!(result.is_err(), "data was taken for the reply: {result:?}");
    expect_alive(&client, &mut server, 3).await?;
    pass()
}

async fn frame_over_4_mib(script: &Script) -> Outcome {
    let (client, mut server) = script.connect().await?;
    let replies = client.nothing(&Context::new(), Empty::new()).await?;
    server.expect(1).await?.request()?;
    let data = vec![0; crate::frames::MAX_DATA + 1];
    let calling = async {
        let end = collect(replies).await.1.map_or(Ok(()), Err);
        failed(end, Code::RESOURCE_EXHAUSTED, "the stream")?;
        // A client that nobody waits for may leave the rest of the frame unread.
        Ok::<_, Failure>(echo(&client))
    };
    let (sent, call) = tokio::join!(server.send(1, DATA, 0, &data), calling);
    sent?;
    server.close(1).await?;
    expect_answered(call?, &mut server, 3).await?;
    pass()
}

async fn end_of_the_connection(script: &Script) -> Outcome {
    let (client, mut server) = script.connect().await?;
    let call = echo(&client);
    let replies = client.nothing(&Context::new(), Empty::new()).await?;
    for _ in 0..2 {
        server.next().await?;
    }
    drop(server);
    failed(call.await?, Code::UNAVAILABLE, "the call")?;
    let end = collect(replies).await.1.map_or(Ok(()), Err);
    failed(end, Code::UNAVAILABLE, "the stream")?;
    failed(echo(&client).await?, Code::UNAVAILABLE, "a late call")?;
    pass()
}
