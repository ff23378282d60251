//! One message each way.

use tokio::task::JoinSet;
use ttrpc_runtime::{Code, Context};

use crate::messages::{BytesValue, Empty, pattern, text};
use crate::outcome::{
    Case, Outcome, cases, check, check_eq, failed, not_applicable, pass, patiently,
};
use crate::peers::Pair;
use crate::protos::interop_ttrpc::{Absent, Interop};

use super::{collect, still_usable};

pub const CASES: &[Case<Pair>] = cases![
    empty_unary,
    large_unary,
    concurrent_unary_x1000,
    concurrent_unary_x1000_of_4000_bytes,
    snake_case_method,
    unimplemented_method,
    unimplemented_stream,
    unimplemented_service,
];

async fn empty_unary(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let reply = client.echo(&Context::new(), BytesValue::new()).await?;
    check_eq!(reply, BytesValue::new(), "the reply");
    pass()
}

async fn large_unary(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    for len in [1, 1 << 12, 1 << 16, 1 << 20, 3 << 20] {
        let sent = pattern(len, len);
        let reply = client.echo(&Context::new(), sent.clone()).await?;
        check!(reply == sent, "{len} bytes came back as others");
    }
    pass()
}

async fn concurrent_unary_x1000(pair: &Pair) -> Outcome {
    concurrent(pair, |number| number % 50).await
}

/// More than the sockets hold: requests wait to be written while replies do. Go's
/// clients before 1.2.5 read no reply while one of their requests waits, so that all
/// replies have to fit into what a server queues: 4 MiB, ours.
async fn concurrent_unary_x1000_of_4000_bytes(pair: &Pair) -> Outcome {
    concurrent(pair, |_| 4000).await
}

async fn concurrent(pair: &Pair, size: fn(usize) -> usize) -> Outcome {
    let client = pair.connect().await?;
    let mut calls = JoinSet::new();
    for number in 0..1000 {
        let client = client.clone();
        calls.spawn(async move {
            let sent = pattern(number, size(number));
            let reply = client.echo(&Context::new(), sent.clone()).await;
            reply.map(|reply| reply == sent)
        });
    }
    for answered in patiently("the replies", calls.join_all()).await? {
        check!(answered?, "a call got the reply of another one");
    }
    pass()
}

async fn snake_case_method(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let ctx = Context::new();
    let call = client.snake_case(&ctx, text("snake")).await;
    let stream = client.snake_case_stream(&ctx, text("snake")).await?;
    let (messages, error) = collect(stream).await;
    if pair.server.kind.is_go() {
        failed(call, Code::UNIMPLEMENTED, "the call")?;
        failed(error.map_or(Ok(()), Err), Code::UNIMPLEMENTED, "the stream")?;
        still_usable(&client).await?;
        return not_applicable(
            "Go's servers know the name in camel case only; Go's clients call that on streams",
        );
    }
    check_eq!(call?, text("snake"), "the reply");
    check_eq!(messages, [text("snake")], "the messages of the stream");
    error.map_or_else(pass, |error| Err(error.into()))
}

async fn unimplemented_method(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let ctx = Context::new();
    let declared = client.unwritten(&ctx, Empty::new()).await;
    failed(
        declared,
        Code::UNIMPLEMENTED,
        "a method that is declared only",
    )?;
    let unknown = client.call_by_name(&ctx, "Nonesuch").await;
    failed(unknown, Code::UNIMPLEMENTED, "a method that nobody knows")?;
    still_usable(&client).await?;
    pass()
}

async fn unimplemented_stream(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    // Nothing is sent before the end has come: Go's servers before 1.2.8 die of it.
    let (sender, requests) = ttrpc_runtime::Streaming::channel(1);
    let mut replies = client.unwritten_chat(&Context::new(), requests).await?;
    failed(replies.message().await, Code::UNIMPLEMENTED, "the stream")?;
    drop(sender);
    still_usable(&client).await?;
    pass()
}

async fn unimplemented_service(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let call = client.call(&Context::new(), Empty::new()).await;
    failed(call, Code::UNIMPLEMENTED, "a service that nobody serves")?;
    still_usable(&client).await?;
    pass()
}
