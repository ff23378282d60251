//! Streams of messages.

use ttrpc_runtime::{Code, Context, Streaming};

use crate::messages::{BytesValue, Empty, bytes, int, pattern, text};
use crate::outcome::{
    Case, Failure, Outcome, cases, check, check_eq, failed, not_applicable, pass,
};
use crate::peers::Pair;
use crate::protos::interop_ttrpc::Interop;

use super::{all, collect, still_usable};

pub const CASES: &[Case<Pair>] = cases![
    client_stream_of_74922_bytes,
    server_stream_of_four_sizes,
    ping_pong,
    empty_streams,
    empty_messages,
    empty_request_of_a_server_stream,
    ten_thousand_messages_in_order,
    ten_thousand_messages_both_ways,
    many_streams_interleaved,
    early_reply_to_a_client_stream,
    early_end_of_a_bidi_stream,
    early_reply_under_a_flood,
];

async fn client_stream_of_74922_bytes(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let sizes = [27_182, 8, 1_828, 45_904];
    let requests = Streaming::from_iter(sizes.map(|size| pattern(size, size)));
    let sum = client.sum(&Context::new(), requests).await?;
    check_eq!(sum.value, 74_922, "the sum of the sizes");
    pass()
}

async fn server_stream_of_four_sizes(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let sizes = text("31415 9 2653 58979");
    let replies = all(client.parts(&Context::new(), sizes).await?).await?;
    let sizes: Vec<_> = replies.iter().map(|reply| reply.value.len()).collect();
    check_eq!(sizes, [31_415, 9, 2_653, 58_979], "the sizes");
    pass()
}

async fn ping_pong(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let (sender, requests) = Streaming::channel(1);
    let mut replies = client.chat(&Context::new(), requests).await?;
    for (round, size) in [27_182, 8, 0, 1_828, 45_904].into_iter().enumerate() {
        let ping = pattern(round, size);
        sender.send(ping.clone()).await?;
        let pong = replies.message().await?;
        check!(pong == Some(ping), "round {round}: other bytes came back");
    }
    drop(sender);
    check_eq!(replies.message().await?, None, "what comes after the last");
    pass()
}

async fn empty_streams(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let ctx = Context::new();
    let sum = client.sum(&ctx, Streaming::from_iter([])).await?;
    check_eq!(sum, int(0), "the sum of nothing");
    // Not the empty text: that would be another case.
    let replies = all(client.parts(&ctx, text(" ")).await?).await?;
    check_eq!(replies.len(), 0, "messages from the server");
    let replies = all(client.chat(&ctx, Streaming::from_iter([])).await?).await?;
    check_eq!(replies.len(), 0, "messages both ways");
    pass()
}

async fn empty_messages(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let ctx = Context::new();
    let requests = Streaming::from_iter(vec![Empty::new(); 5]);
    let count = client.count(&ctx, requests).await?;
    check_eq!(count, int(5), "messages to the server");
    let nothing = BytesValue::new();
    let replies = all(client.parts(&ctx, text("0 0 0")).await?).await?;
    check_eq!(
        replies,
        vec![nothing.clone(); 3],
        "messages from the server"
    );
    let requests = Streaming::from_iter(vec![nothing.clone(); 4]);
    let replies = all(client.chat(&ctx, requests).await?).await?;
    check_eq!(replies, vec![nothing; 4], "messages both ways");
    pass()
}

async fn empty_request_of_a_server_stream(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    if pair.server.kind.is_go_before(5) {
        let ctx = Context::new().with_timeout(std::time::Duration::from_millis(300));
        let (_, error) = collect(client.nothing(&ctx, Empty::new()).await?).await;
        let end = error.map_or(Ok(()), Err);
        failed(end, Code::DEADLINE_EXCEEDED, "the stream")?;
        still_usable(&client).await?;
        return not_applicable("Go before 1.2.5 does not see an empty request, and waits for it");
    }
    let replies = client.nothing(&Context::new(), Empty::new()).await?;
    check_eq!(all(replies).await?.len(), 3, "messages");
    pass()
}

async fn ten_thousand_messages_in_order(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let replies = client.numbers(&Context::new(), int(10_000)).await?;
    let numbers = all(replies).await?;
    check_eq!(numbers.len(), 10_000, "messages");
    let in_order = numbers.into_iter().eq((0..10_000).map(int));
    check!(in_order, "the numbers came in another order");
    pass()
}

async fn ten_thousand_messages_both_ways(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let message = |number: u32| bytes(number.to_be_bytes());
    let requests = Streaming::from_iter((0..10_000).map(message));
    let replies = client.chat(&Context::new(), requests).await?;
    let numbers = all(replies).await?;
    check_eq!(numbers.len(), 10_000, "messages");
    let in_order = numbers.into_iter().eq((0..10_000).map(message));
    check!(in_order, "the messages came in another order");
    pass()
}

async fn many_streams_interleaved(pair: &Pair) -> Outcome {
    const STREAMS: usize = 50;
    let client = pair.connect().await?;
    let mut chats = Vec::new();
    for _ in 0..STREAMS {
        let (sender, requests) = Streaming::channel(1);
        chats.push((sender, client.chat(&Context::new(), requests).await?));
    }
    for round in 0..20 {
        let message = |stream| pattern(stream * 100 + round, stream);
        for (stream, (sender, _)) in chats.iter().enumerate() {
            sender.send(message(stream)).await?;
        }
        for (stream, (_, replies)) in chats.iter_mut().enumerate() {
            let reply = replies.message().await?;
            check!(
                reply == Some(message(stream)),
                "stream {stream}, round {round}"
            );
        }
    }
    for (sender, mut replies) in chats {
        drop(sender);
        check_eq!(replies.message().await?, None, "what comes after the last");
    }
    pass()
}

/// The reply has come; the client goes on to send.
async fn early_reply_to_a_client_stream(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let (sender, requests) = Streaming::channel(1);
    let ctx = Context::new();
    sender.send(pattern(1, 10)).await?;
    let reply = client.first(&ctx, requests).await?;
    check_eq!(reply, pattern(1, 10), "the reply");
    for number in 2..20 {
        // Our client no longer takes it; Go's sends it.
        let sent = sender.send(pattern(number, 10)).await;
        check!(
            sent.is_err() || !pair.client.kind.is_ours(),
            "a message was sent on a stream that is over"
        );
    }
    drop(sender);
    still_usable(&client).await?;
    pass()
}

async fn early_end_of_a_bidi_stream(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let (sender, requests) = Streaming::channel(1);
    let mut replies = client.chat_once(&Context::new(), requests).await?;
    sender.send(pattern(1, 10)).await?;
    let reply = replies.message().await?;
    check_eq!(reply, Some(pattern(1, 10)), "the reply");
    check_eq!(replies.message().await?, None, "what comes after the reply");
    for number in 2..20 {
        let sent = sender.send(pattern(number, 10)).await;
        check!(
            sent.is_err() || !pair.client.kind.is_ours(),
            "a message was sent on a stream that is over"
        );
    }
    drop(sender);
    still_usable(&client).await?;
    pass()
}

/// The client sends as fast as it can while the reply is on its way.
async fn early_reply_under_a_flood(pair: &Pair) -> Outcome {
    if pair.server.kind.is_go_before(8) {
        return not_applicable("Go before 1.2.8 dies of what crosses with the end of a stream");
    }
    if pair.client.kind.is_go_before(2) {
        // Late data is answered, by Go's servers as well.
        return not_applicable(
            "Go's clients before 1.2.2 may die of an answer that crosses with a stream's end",
        );
    }
    let client = pair.connect().await?;
    let requests = Streaming::from_iter((0..5000).map(|number| pattern(number, 100)));
    let reply = client.first(&Context::new(), requests).await;
    let reply = reply.map_err(|error| Failure::new(format!("the flooded call: {error}")))?;
    check_eq!(reply, pattern(0, 100), "the reply");
    still_usable(&client).await?;
    pass()
}
