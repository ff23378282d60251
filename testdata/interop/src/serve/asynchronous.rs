//! The flavour with `async`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ttrpc_runtime::{Context, Listener, Result, Server, Streaming};

use crate::console::Console;
use crate::messages::{BytesValue, Empty, Int64Value, StringValue, bytes, int, text};
use crate::outcome::Outcome;
use crate::protos::interop_ttrpc::{Interop, InteropServer};

use super::{failure, first, nanoseconds_left, parts, values};

/// Serves until the console says `shutdown` or ends.
pub async fn serve(socket: &Path) -> Outcome<()> {
    let console = Arc::new(Console::default());
    let server = Server::builder()
        .service(InteropServer::new(Service(Arc::clone(&console))))
        .build()?;
    let listener = Listener::bind(&socket.to_path_buf())?;
    println!("ready");

    let stopping = console.listen();
    let closing = server.clone();
    let shutdown = tokio::spawn(async move {
        if stopping.await.is_ok() {
            closing.shutdown(Duration::from_secs(60)).await;
        }
    });
    server.serve(listener).await?;
    Ok(shutdown.await?)
}

struct Service(Arc<Console>);

impl Interop for Service {
    async fn echo(&self, _: &Context, request: BytesValue) -> Result<BytesValue> {
        Ok(request)
    }

    async fn fill(&self, _: &Context, size: Int64Value) -> Result<BytesValue> {
        Ok(bytes(vec![0; size.value as usize]))
    }

    async fn fail(&self, _: &Context, _: Empty) -> Result<Empty> {
        Err(failure().into())
    }

    async fn metadata(&self, ctx: &Context, key: StringValue) -> Result<StringValue> {
        Ok(text(values(ctx, &key).join(",")))
    }

    async fn time_left(&self, ctx: &Context, _: Empty) -> Result<Int64Value> {
        Ok(nanoseconds_left(ctx))
    }

    async fn hold(&self, _: &Context, request: StringValue) -> Result<StringValue> {
        self.0.hold().await;
        Ok(request)
    }

    async fn snake_case(&self, _: &Context, request: StringValue) -> Result<StringValue> {
        Ok(request)
    }

    async fn sum(&self, _: &Context, mut messages: Streaming<BytesValue>) -> Result<Int64Value> {
        let mut sum = 0;
        while let Some(message) = messages.message().await? {
            sum += message.value.len() as i64;
        }
        Ok(int(sum))
    }

    async fn count(&self, _: &Context, mut messages: Streaming<Empty>) -> Result<Int64Value> {
        let mut count = 0;
        while messages.message().await?.is_some() {
            count += 1;
        }
        Ok(int(count))
    }

    async fn first(&self, _: &Context, mut messages: Streaming<BytesValue>) -> Result<BytesValue> {
        first(messages.message().await?)
    }

    async fn parts(&self, _: &Context, sizes: StringValue) -> Result<Streaming<BytesValue>> {
        Ok(Streaming::from_iter(parts(&sizes)?))
    }

    async fn numbers(&self, _: &Context, end: Int64Value) -> Result<Streaming<Int64Value>> {
        Ok(Streaming::from_iter((0..end.value).map(int)))
    }

    async fn nothing(&self, _: &Context, nothing: Empty) -> Result<Streaming<Empty>> {
        Ok(Streaming::from_iter(vec![nothing; 3]))
    }

    async fn fail_late(&self, _: &Context, end: Int64Value) -> Result<Streaming<Int64Value>> {
        Ok(Streaming::produce(async move |numbers| {
            for number in 0..end.value {
                numbers.send(int(number)).await?;
            }
            Err(failure().into())
        }))
    }

    async fn stream_metadata(
        &self,
        ctx: &Context,
        key: StringValue,
    ) -> Result<Streaming<StringValue>> {
        let values: Vec<_> = values(ctx, &key).into_iter().map(text).collect();
        Ok(Streaming::from_iter(values))
    }

    async fn stream_time_left(
        &self,
        ctx: &Context,
        _: StringValue,
    ) -> Result<Streaming<Int64Value>> {
        Ok(Streaming::from_iter([nanoseconds_left(ctx)]))
    }

    async fn hold_open(&self, _: &Context, message: StringValue) -> Result<Streaming<StringValue>> {
        let console = Arc::clone(&self.0);
        Ok(Streaming::produce(async move |messages| {
            messages.send(message.clone()).await?;
            console.hold().await;
            messages.send(message.clone()).await?;
            messages.send(message).await
        }))
    }

    async fn snake_case_stream(
        &self,
        _: &Context,
        message: StringValue,
    ) -> Result<Streaming<StringValue>> {
        Ok(Streaming::from_iter([message]))
    }

    async fn chat(
        &self,
        _: &Context,
        messages: Streaming<BytesValue>,
    ) -> Result<Streaming<BytesValue>> {
        Ok(messages)
    }

    async fn chat_once(
        &self,
        _: &Context,
        mut messages: Streaming<BytesValue>,
    ) -> Result<Streaming<BytesValue>> {
        let first = messages.message().await?;
        Ok(Streaming::from_iter(first))
    }

    async fn chat_hold(
        &self,
        _: &Context,
        mut messages: Streaming<BytesValue>,
    ) -> Result<Streaming<BytesValue>> {
        let console = Arc::clone(&self.0);
        Ok(Streaming::produce(async move |replies| {
            if let Some(first) = messages.message().await? {
                replies.send(first).await?;
            }
            console.hold().await;
            Ok(())
        }))
    }
}
