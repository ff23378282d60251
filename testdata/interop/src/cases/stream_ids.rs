//! The ids of streams, as a server sees them; and what our client does when they run
//! out.

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use ttrpc_runtime::frame::StreamId;
use ttrpc_runtime::proto::{CallKind, End, Endpoint, Now, Output, Received, client};
use ttrpc_runtime::{Code, Limits, Metadata};

use crate::caller::SERVICE;
use crate::messages::{BytesValue, bytes};
use crate::outcome::{Case, Failure, Outcome, cases, check, check_eq, failed, pass, patiently};
use crate::peers::Target;

pub const CASES: &[Case<Target>] = cases![
    even_and_zero_ids,
    id_used_again,
    next_id_near_the_maximum,
    our_client_runs_out_of_ids,
];

const LAST: u32 = u32::MAX;

async fn even_and_zero_ids(server: &Target) -> Outcome {
    let mut frames = server.frames().await?;
    for id in [0, 2] {
        frames.request(id, 0, "Echo", &bytes(*b"a")).await?;
        let code = frames.expect(id).await?.code()?;
        check_eq!(code, Code::INVALID_ARGUMENT, "the code of id {id}");
    }
    frames.expect_alive(1).await?;
    pass()
}

async fn id_used_again(server: &Target) -> Outcome {
    let mut frames = server.frames().await?;
    frames.expect_alive(5).await?;
    for id in [5, 3] {
        frames.request(id, 0, "Echo", &bytes(*b"a")).await?;
        let code = frames.expect(id).await?.code()?;
        check_eq!(code, Code::INVALID_ARGUMENT, "the code of id {id}");
    }
    frames.expect_alive(7).await?;
    pass()
}

async fn next_id_near_the_maximum(server: &Target) -> Outcome {
    let mut frames = server.frames().await?;
    for id in [LAST / 2, LAST - 2, LAST] {
        frames.expect_alive(id | 1).await?;
    }
    frames.request(1, 0, "Echo", &bytes(*b"a")).await?;
    let code = frames.expect(1).await?.code()?;
    check_eq!(
        code,
        Code::INVALID_ARGUMENT,
        "the code of the id after the last"
    );
    pass()
}

/// It serves the last id, and then says that there are no more; it never wraps.
async fn our_client_runs_out_of_ids(server: &Target) -> Outcome {
    let mut io = UnixStream::connect(&server.socket).await?;
    let first = StreamId::new(LAST - 2);
    let mut connection = client::Connection::<()>::with_first_id(Limits::default(), first);
    for expected in [LAST - 2, LAST] {
        let id = open(&mut connection)?;
        check_eq!(id.get(), expected, "the id of the call");
        let reply = patiently("the reply", answer(&mut connection, &mut io, id)).await??;
        check!(
            reply[..] == b"\x0a\x01a"[..],
            "the reply to {id} is {reply:?}"
        );
    }
    let error = match open(&mut connection) {
        Ok(id) => return Err(Failure::new(format!("the id after the last is {id}"))),
        Err(error) => error,
    };
    check!(error.is_stream_ids_exhausted(), "the error is {error:?}");
    failed(Err::<(), _>(error), Code::UNAVAILABLE, "the call")?;
    pass()
}

fn open(connection: &mut client::Connection<()>) -> ttrpc_runtime::Result<StreamId> {
    let request: bytes::Bytes = b"\x0a\x01a"[..].into();
    let metadata = Metadata::new();
    let call = client::Call {
        service: SERVICE,
        method: "Echo",
        kind: CallKind::Unary,
        deadline: None,
        metadata: &metadata,
        request: Some(&request),
    };
    connection.open(&call, Instant::now())
}

/// Carries bytes until a call has its reply.
async fn answer(
    connection: &mut client::Connection<()>,
    io: &mut UnixStream,
    id: StreamId,
) -> Outcome<bytes::Bytes> {
    let mut output = Output::default();
    connection.link().take_output(&mut output);
    while !output.is_empty() {
        let mut slices = [std::io::IoSlice::new(&[])];
        output.slices(&mut slices);
        let written = io.write(&slices[0]).await?;
        output.advance(written);
    }
    let mut buffer = [0; 4096];
    loop {
        while connection.poll(&mut Now::default(), &mut None)?.is_some() {}
        match connection.receive(id, &mut Default::default()) {
            Received::End(End::Reply(reply)) => return Ok(reply.into_bytes()),
            Received::End(end) => return Err(Failure::new(format!("the call ended with {end:?}"))),
            _ => {}
        }
        let len = io.read(&mut buffer).await?;
        check!(len > 0, "the server closed the connection");
        connection.link().received(&buffer[..len]);
    }
}

// A message, so that the names of the crate and of its maker do not get mixed up.
const _: fn(&[u8]) -> BytesValue = |value| bytes(value);
