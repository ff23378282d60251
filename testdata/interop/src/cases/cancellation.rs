//! Calls that end before their time: by the client, with the connection, with the
//! server.

use tokio::task::{JoinHandle, JoinSet};
use ttrpc_runtime::{Code, Context, Result, Streaming};

use crate::caller::Caller;
use crate::messages::{StringValue, pattern, text};
use crate::outcome::{
    Case, Failure, Outcome, cases, check, check_eq, failed, not_applicable, pass, patiently,
};
use crate::peers::Pair;
use crate::protos::interop_ttrpc::Interop;

use super::still_usable;

pub const CASES: &[Case<Pair>] = cases![
    cancel_after_begin,
    cancel_of_streams_after_begin,
    cancel_after_first_response,
    connection_drop_cancels_handlers,
    connection_drop_fails_calls,
    shutdown_loses_no_call,
];

fn hold(client: &Caller, ctx: &Context, name: &str) -> JoinHandle<Result<StringValue>> {
    let (client, ctx, name) = (client.clone(), ctx.clone(), text(name));
    tokio::spawn(async move { client.hold(&ctx, name).await })
}

const STALLS: &str =
    "Go before 1.2.9 stalls at the second message for a stream that it has cancelled";

/// Lets the handlers go on whose calls were cancelled: the server does not know, and
/// answers late.
async fn usable_in_spite_of_late_frames(pair: &Pair, client: &Caller, handlers: usize) -> Outcome {
    // What is sent of a cancellation has left now: Go's servers before 1.2.8 die of what
    // crosses with the end of a stream.
    still_usable(client).await?;
    pair.server.release().await?;
    pair.server.wait_for("finished", handlers).await?;
    still_usable(client).await?;
    pass()
}

async fn cancel_after_begin(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let (ctx, canceller) = Context::new().with_cancel();
    let call = hold(&client, &ctx, "a");
    pair.server.wait_for("started", 1).await?;
    canceller.cancel();
    failed(call.await?, Code::CANCELLED, "the call")?;
    usable_in_spite_of_late_frames(pair, &client, 1).await
}

async fn cancel_of_streams_after_begin(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let (ctx, canceller) = Context::new().with_cancel();
    let mut served = client.hold_open(&ctx, text("a")).await?;
    let (sender, requests) = Streaming::channel(1);
    let mut chat = client.chat(&ctx, requests).await?;
    pair.server.wait_for("started", 1).await?;
    canceller.cancel();
    // One that had come in before may be read.
    let mut end = served.message().await;
    if matches!(end, Ok(Some(_))) {
        end = served.message().await;
    }
    failed(end, Code::CANCELLED, "the server's stream")?;
    failed(chat.message().await, Code::CANCELLED, "the chat")?;
    drop(sender);
    if pair.client.kind.is_go_before(9) {
        return not_applicable(STALLS);
    }
    usable_in_spite_of_late_frames(pair, &client, 1).await
}

async fn cancel_after_first_response(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let (ctx, canceller) = Context::new().with_cancel();
    let mut served = client.hold_open(&ctx, text("a")).await?;
    check_eq!(served.message().await?, Some(text("a")), "the message");
    let (sender, requests) = Streaming::channel(1);
    let mut chat = client.chat_hold(&ctx, requests).await?;
    sender.send(pattern(1, 5)).await?;
    check_eq!(chat.message().await?, Some(pattern(1, 5)), "the reply");
    pair.server.wait_for("started", 2).await?;
    canceller.cancel();
    failed(
        served.message().await,
        Code::CANCELLED,
        "the server's stream",
    )?;
    failed(chat.message().await, Code::CANCELLED, "the chat")?;
    if pair.client.kind.is_go_before(9) {
        return not_applicable(STALLS);
    }
    usable_in_spite_of_late_frames(pair, &client, 2).await
}

async fn connection_drop_cancels_handlers(pair: &Pair) -> Outcome {
    let client = pair.connect_to_cut().await?;
    let ctx = Context::new();
    let call = hold(&client, &ctx, "a");
    let served = client.hold_open(&ctx, text("b")).await?;
    let (sender, requests) = Streaming::channel(1);
    let chat = client.chat_hold(&ctx, requests).await?;
    sender.send(pattern(1, 5)).await?;
    // A puppet's stream runs as it is read.
    let streams = (super::collect(served), super::collect(chat));
    let reading = tokio::spawn(async { tokio::join!(streams.0, streams.1) });
    pair.server.wait_for("started", 3).await?;
    client.cut().await?;
    pair.server.wait_for("cancelled", 3).await?;
    failed(call.await?, Code::UNAVAILABLE, "the call")?;
    patiently("the end of the streams", reading).await??;
    still_usable(&pair.connect().await?).await?;
    pass()
}

/// As seen from the client: each call fails, and says why.
async fn connection_drop_fails_calls(pair: &Pair) -> Outcome {
    let client = pair.connect_to_cut().await?;
    let calls: Vec<_> = (0..10)
        .map(|_| hold(&client, &Context::new(), "a"))
        .collect();
    pair.server.wait_for("started", 10).await?;
    client.cut().await?;
    for call in calls {
        let error = failed(call.await?, Code::UNAVAILABLE, "a call that was open")?;
        check!(
            error.is_closed() || !pair.client.kind.is_ours(),
            "{error} does not say that the connection has ended"
        );
    }
    let late = client.hold(&Context::new(), text("late")).await;
    failed(late, Code::UNAVAILABLE, "a call that came late")?;
    pass()
}

async fn shutdown_loses_no_call(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let ctx = Context::new();
    let mut calls = JoinSet::new();
    for number in 0..20 {
        let name = number.to_string();
        let call = hold(&client, &ctx, &name);
        calls.spawn(async move { Ok::<_, Failure>(call.await??.value == name) });
    }
    let mut served = client.hold_open(&ctx, text("a")).await?;
    check_eq!(served.message().await?, Some(text("a")), "the message");
    pair.server.wait_for("started", 21).await?;
    // Go's server looks between two answers whether a connection is busy.
    still_usable(&client).await?;
    pair.server.shut_down().await?;
    if pair.server.kind.is_ours() {
        // Go's goes on to take calls on connections that are busy.
        let refused = async {
            while client.echo(&ctx, pattern(1, 1)).await.is_ok() {}
            client.echo(&ctx, pattern(1, 1)).await
        };
        let refused = patiently("the shutdown", refused).await?;
        failed(refused, Code::UNAVAILABLE, "a call after the shutdown")?;
    }
    pair.server.release().await?;
    for answered in calls.join_all().await {
        check!(answered?, "a call got the reply of another one");
    }
    let rest = super::all(served).await?;
    check_eq!(rest, [text("a"), text("a")], "the rest of the stream");
    pair.server.ended().await?;
    pass()
}
