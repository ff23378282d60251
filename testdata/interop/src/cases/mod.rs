//! The cases, by theme. Each function is a case, and its name is what the table says.

mod cancellation;
mod deadlines;
mod errors;
mod from_the_wire;
mod limits;
mod metadata;
mod on_the_wire;
mod stream_ids;
mod streams;
mod unary;

use ttrpc_runtime::{Context, Error, Streaming};

use crate::caller::Caller;
use crate::messages::{int, pattern};
use crate::outcome::{Case, Outcome, check};
use crate::peers::{Pair, Script, Target};
use crate::protos::interop_ttrpc::Interop;

/// Calls, from a client to a server.
pub fn calls() -> Vec<Case<Pair>> {
    [
        unary::CASES,
        limits::CASES,
        streams::CASES,
        metadata::CASES,
        errors::CASES,
        deadlines::CASES,
        cancellation::CASES,
    ]
    .concat()
}

/// Frames that a server has to understand.
pub fn frames_to_server() -> Vec<Case<Target>> {
    [on_the_wire::CASES, stream_ids::CASES].concat()
}

/// Frames that a client has to understand, and those that it sends.
pub fn frames_to_client() -> Vec<Case<Script>> {
    from_the_wire::CASES.to_vec()
}

/// Checks that calls of two kinds still work on a connection.
async fn still_usable(client: &Caller) -> Outcome<()> {
    let ctx = Context::new();
    let sent = pattern(3, 1000);
    let reply = client.echo(&ctx, sent.clone()).await?;
    check!(
        reply == sent,
        "the connection no longer carries a unary call"
    );
    let numbers = all(client.numbers(&ctx, int(3)).await?).await?;
    check!(
        numbers == [0, 1, 2].map(int),
        "the connection no longer carries a stream"
    );
    Ok(())
}

/// All messages of a stream, and the error that it ended with.
async fn collect<T>(mut stream: Streaming<T>) -> (Vec<T>, Option<Error>) {
    let mut messages = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return (messages, None),
            Err(error) => return (messages, Some(error)),
        }
    }
}

/// All messages of a stream that has to end well.
async fn all<T>(stream: Streaming<T>) -> Outcome<Vec<T>> {
    match collect(stream).await {
        (messages, None) => Ok(messages),
        (_, Some(error)) => Err(error.into()),
    }
}
