//! Our server: the service on our runtime, in a process with a console.

use ttrpc_runtime::{Any, Code, Context, Result, Status};

use crate::messages::{BytesValue, Int64Value, StringValue, bytes, int};

pub mod asynchronous;
pub mod blocking;

/// What every server fails with.
pub const FAILURE: &str = "příliš žluťoučký kůň 🐎";

fn failure() -> Status {
    // Encoded by hand: field 1, `detail` and 7.
    let detail = |name: &str, value: &'static [u8]| Any {
        type_url: format!("type.googleapis.com/google.protobuf.{name}"),
        value: value.into(),
    };
    Status::new(Code::FAILED_PRECONDITION, FAILURE)
        .with_detail(detail("StringValue", b"\x0a\x06detail"))
        .with_detail(detail("Int64Value", b"\x08\x07"))
}

/// The values of a key of the metadata.
fn values<'a>(ctx: &'a Context, key: &'a StringValue) -> Vec<&'a str> {
    ctx.metadata().get_all(&key.value).collect()
}

fn nanoseconds_left(ctx: &Context) -> Int64Value {
    int(ctx.time_left().map_or(0, |left| left.as_nanos() as i64))
}

/// Messages of the sizes that stand in a text.
fn parts(sizes: &StringValue) -> Result<impl Iterator<Item = BytesValue> + Send + use<>> {
    let sizes: Result<Vec<usize>, _> = sizes.value.split_whitespace().map(str::parse).collect();
    let sizes = sizes.map_err(|error| Status::invalid_argument(error.to_string()))?;
    Ok(sizes.into_iter().map(|size| bytes(vec![0; size])))
}

/// The message that has to be there.
fn first(message: Option<BytesValue>) -> Result<BytesValue> {
    message.ok_or_else(|| Status::invalid_argument("there is no first message").into())
}
