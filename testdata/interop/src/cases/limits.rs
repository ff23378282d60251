//! Frames of 4 MiB, and one byte more.
//!
//! What stands around the bytes of a message: 5 bytes of a BytesValue, 5 of an envelope,
//! and in a Request 26 for the names of the service and of `Echo`.

use ttrpc_runtime::{Code, Context, Streaming};

use crate::frames::MAX_DATA;
use crate::messages::{int, pattern, text};
use crate::outcome::{Case, Outcome, cases, check, check_eq, failed, pass};
use crate::peers::Pair;
use crate::protos::interop_ttrpc::Interop;

use super::{all, collect, still_usable};

pub const CASES: &[Case<Pair>] = cases![
    request_of_exactly_4_mib,
    reply_of_exactly_4_mib,
    stream_messages_of_exactly_4_mib,
    request_over_4_mib,
    reply_over_4_mib,
    stream_request_over_4_mib,
    stream_reply_over_4_mib,
];

const LARGEST_ECHO: usize = MAX_DATA - 36;
const LARGEST_REPLY: usize = MAX_DATA - 10;
const LARGEST_DATA: usize = MAX_DATA - 5;

async fn request_of_exactly_4_mib(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let sent = pattern(1, LARGEST_ECHO);
    let reply = client.echo(&Context::new(), sent.clone()).await?;
    check!(reply == sent, "other bytes came back");
    pass()
}

async fn reply_of_exactly_4_mib(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let size = int(LARGEST_REPLY as i64);
    let reply = client.fill(&Context::new(), size).await?;
    check_eq!(reply.value.len(), LARGEST_REPLY, "bytes of the reply");
    pass()
}

async fn stream_messages_of_exactly_4_mib(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let sent = [pattern(1, LARGEST_DATA), pattern(2, LARGEST_DATA)];
    let requests = Streaming::from_iter(sent.clone());
    let replies = client.chat(&Context::new(), requests).await?;
    check!(all(replies).await? == sent, "other bytes came back");
    pass()
}

async fn request_over_4_mib(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    // Go before 1.2.6 sends it, so that the server has to refuse it.
    let request = pattern(1, LARGEST_ECHO + 1);
    let call = client.echo(&Context::new(), request).await;
    let error = failed(call, Code::RESOURCE_EXHAUSTED, "the call")?;
    if pair.client.kind.is_ours() {
        let lengths = Some((MAX_DATA + 1, MAX_DATA));
        check_eq!(error.too_large_by(), lengths, "the length and the limit");
    }
    still_usable(&client).await?;
    pass()
}

async fn reply_over_4_mib(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let size = int(LARGEST_REPLY as i64 + 1);
    let call = client.fill(&Context::new(), size).await;
    if server_closes(pair) {
        failed(call, Code::UNAVAILABLE, "the call")?;
        still_usable(&pair.connect().await?).await?;
        return pass();
    }
    let error = failed(call, Code::RESOURCE_EXHAUSTED, "the call")?;
    if !pair.server.kind.is_ours() {
        let lengths = Some((MAX_DATA + 1, MAX_DATA));
        check_eq!(error.too_large_by(), lengths, "the length and the limit");
    }
    still_usable(&client).await?;
    pass()
}

async fn stream_request_over_4_mib(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let sizes = [10, LARGEST_DATA + 1];
    let requests = Streaming::from_iter(sizes.map(|size| pattern(1, size)));
    let call = client.sum(&Context::new(), requests).await;
    failed(call, Code::RESOURCE_EXHAUSTED, "the call")?;
    still_usable(&client).await?;
    pass()
}

async fn stream_reply_over_4_mib(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let sizes = text(format!("10 {}", LARGEST_DATA + 1));
    let replies = client.parts(&Context::new(), sizes).await?;
    let (messages, error) = collect(replies).await;
    let lens: Vec<_> = messages.iter().map(|message| message.value.len()).collect();
    check_eq!(lens, [10], "sizes of the messages before the error");
    let end = error.map_or(Ok(()), Err);
    if server_closes(pair) {
        failed(end, Code::UNAVAILABLE, "the stream")?;
        still_usable(&pair.connect().await?).await?;
        return pass();
    }
    failed(end, Code::RESOURCE_EXHAUSTED, "the stream")?;
    still_usable(&client).await?;
    pass()
}

/// Whether the server closes the connection where its reply is too large. Go's first
/// versions send it.
fn server_closes(pair: &Pair) -> bool {
    pair.server.kind.is_go() && !pair.server.kind.is_go_before(6)
}
