//! Deadlines.

use std::time::{Duration, Instant};

use ttrpc_runtime::{Code, Context};

use crate::messages::{Empty, text};
use crate::outcome::{Case, Outcome, cases, check, check_eq, failed, not_applicable, pass};
use crate::peers::Pair;
use crate::protos::interop_ttrpc::Interop;

use super::{all, still_usable};

pub const CASES: &[Case<Pair>] = cases![
    deadline_reaches_the_handler,
    deadline_reaches_the_handler_of_a_stream,
    deadline_exceeded,
    deadline_exceeded_on_a_stream,
    negative_deadline,
];

const HOUR: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(200);

/// Whether it is what was left of an hour.
fn is_within_the_hour(nanoseconds: i64) -> bool {
    let left = u64::try_from(nanoseconds).unwrap_or_default();
    left > 0 && Duration::from_nanos(left) <= HOUR
}

async fn deadline_reaches_the_handler(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let none = client.time_left(&Context::new(), Empty::new()).await?.value;
    check_eq!(none, 0, "nanoseconds where there is no deadline");
    let ctx = Context::new().with_timeout(HOUR);
    let left = client.time_left(&ctx, Empty::new()).await?.value;
    check!(is_within_the_hour(left), "{left} nanoseconds of an hour");
    pass()
}

async fn deadline_reaches_the_handler_of_a_stream(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let ctx = Context::new().with_timeout(HOUR);
    let left = all(client.stream_time_left(&ctx, text("?")).await?).await?;
    let left: Vec<_> = left.iter().map(|left| left.value).collect();
    if pair.client.kind.is_go() {
        check_eq!(left, [0], "nanoseconds");
        return not_applicable("Go's clients send no deadline on streams");
    }
    check!(
        matches!(left[..], [left] if is_within_the_hour(left)),
        "{left:?} nanoseconds of an hour"
    );
    pass()
}

async fn deadline_exceeded(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let ctx = Context::new().with_timeout(SHORT);
    let call = client.hold(&ctx, text("a")).await;
    failed(call, Code::DEADLINE_EXCEEDED, "the call")?;
    pair.server.wait_for("cancelled", 1).await?;
    still_usable(&client).await?;
    pass()
}

async fn deadline_exceeded_on_a_stream(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let ctx = Context::new().with_timeout(SHORT);
    let mut replies = client.hold_open(&ctx, text("a")).await?;
    check_eq!(replies.message().await?, Some(text("a")), "the message");
    let end = replies.message().await;
    failed(end, Code::DEADLINE_EXCEEDED, "the stream")?;
    if !pair.client.kind.is_go() {
        // Go's clients keep the deadline to themselves.
        pair.server.wait_for("cancelled", 1).await?;
    }
    still_usable(&client).await?;
    pass()
}

/// Our client sends nothing. Go's sends a negative time, and the server is not to run
/// the handler.
async fn negative_deadline(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let ctx = Context::new().with_deadline(Instant::now());
    let call = client.hold(&ctx, text("a")).await;
    failed(call, Code::DEADLINE_EXCEEDED, "the call")?;
    still_usable(&client).await?;
    check_eq!(pair.server.count("started").await?, 0, "handlers that ran");
    pass()
}
