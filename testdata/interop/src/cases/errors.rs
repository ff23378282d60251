//! Errors that a handler returns.

use ttrpc_runtime::{Code, Context, Error};

use crate::messages::{Empty, int};
use crate::outcome::{Case, Failure, Outcome, cases, check_eq, failed, pass};
use crate::peers::Pair;
use crate::protos::interop_ttrpc::Interop;
use crate::serve::FAILURE;

use super::{collect, still_usable};

pub const CASES: &[Case<Pair>] = cases![
    status_with_code_message_and_details,
    status_after_some_messages,
    status_instead_of_any_message,
];

async fn status_with_code_message_and_details(pair: &Pair) -> Outcome {
    let client = pair.connect().await?;
    let call = client.fail(&Context::new(), Empty::new()).await;
    check_failure(failed(call, Code::FAILED_PRECONDITION, "the call")?)?;
    still_usable(&client).await?;
    pass()
}

async fn status_after_some_messages(pair: &Pair) -> Outcome {
    ends_with_failure(pair, 3).await
}

async fn status_instead_of_any_message(pair: &Pair) -> Outcome {
    // One that is sent, for an empty request is another case.
    ends_with_failure(pair, -1).await
}

async fn ends_with_failure(pair: &Pair, numbers: i64) -> Outcome {
    let client = pair.connect().await?;
    let stream = client.fail_late(&Context::new(), int(numbers)).await?;
    let (messages, error) = collect(stream).await;
    let expected: Vec<_> = (0..numbers).map(int).collect();
    check_eq!(messages, expected, "the messages before the error");
    let end = error.map_or(Ok(()), Err);
    check_failure(failed(end, Code::FAILED_PRECONDITION, "the stream")?)?;
    still_usable(&client).await?;
    pass()
}

fn check_failure(error: Error) -> Outcome<()> {
    let Some(status) = error.status() else {
        return Err(Failure::new(format!("{error} is not the handler's status")));
    };
    check_eq!(status.message, FAILURE, "the message");
    let details: Vec<_> = status
        .details
        .iter()
        .map(|detail| (detail.type_url.as_str(), &detail.value[..]))
        .collect();
    let expected = [
        (
            "type.googleapis.com/google.protobuf.StringValue",
            &b"\x0a\x06detail"[..],
        ),
        (
            "type.googleapis.com/google.protobuf.Int64Value",
            &b"\x08\x07"[..],
        ),
    ];
    check_eq!(details, expected, "the details");
    Ok(())
}
