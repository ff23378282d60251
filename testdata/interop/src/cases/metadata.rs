//! Metadata, which clients send with requests.

use ttrpc_runtime::Context;

use crate::messages::text;
use crate::outcome::{Case, Outcome, cases, check_eq, not_applicable, pass};
use crate::peers::Pair;
use crate::protos::interop_ttrpc::Interop;

use super::all;

pub const CASES: &[Case<Pair>] = cases![
    no_metadata,
    metadata_with_repeats,
    metadata_on_streams,
    metadata_that_is_not_ascii,
];

fn with_metadata() -> Context {
    let mut ctx = Context::new();
    let metadata = ctx.metadata_mut();
    // The key is lower-cased when it is set.
    metadata.append("Trace-Id", "1");
    metadata.append("other", "value");
    metadata.append("trace-id", "2");
    metadata.append("trace-id", "1");
    ctx
}

async fn no_metadata(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let values = client.metadata(&Context::new(), text("trace-id")).await?;
    check_eq!(values.value, "", "the values");
    pass()
}

async fn metadata_with_repeats(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let ctx = with_metadata();
    let values = client.metadata(&ctx, text("trace-id")).await?;
    check_eq!(values.value, "1,2,1", "the values of one key");
    let values = client.metadata(&ctx, text("other")).await?;
    check_eq!(values.value, "value", "the value of another one");
    pass()
}

async fn metadata_on_streams(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let ctx = with_metadata();
    let values = client.stream_metadata(&ctx, text("trace-id"));
    let values = all(values.await?).await?;
    if pair.client.kind.is_go() {
        check_eq!(values.len(), 0, "values");
        return not_applicable("Go's clients send no metadata on streams");
    }
    check_eq!(values, ["1", "2", "1"].map(text), "the values");
    pass()
}

async fn metadata_that_is_not_ascii(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let mut ctx = Context::new();
    ctx.metadata_mut().set("klíč", "žluťoučký 🐎 = a,b");
    let values = client.metadata(&ctx, text("klíč")).await?;
    check_eq!(values.value, "žluťoučký 🐎 = a,b", "the value");
    pass()
}
