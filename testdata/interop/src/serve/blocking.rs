//! The blocking flavour, without an asynchronous runtime.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ttrpc_runtime::blocking::{Server, Streaming};
use ttrpc_runtime::{Context, Listener, Result, Status};

use crate::console::Console;
use crate::messages::{BytesValue, Empty, Int64Value, StringValue, bytes, int, text};
use crate::outcome::{Failure, Outcome};
use crate::protos::interop_ttrpc::blocking::{Interop, InteropServer};

use super::{failure, first, nanoseconds_left, parts, values};

/// Serves until the console says `shutdown` or ends.
pub fn serve(socket: &Path) -> Outcome<()> {
    let console = Arc::new(Console::default());
    let server = Server::builder()
        .service(InteropServer::new(Service(Arc::clone(&console))))
        .build()?;
    let listener = Listener::bind(&socket.to_path_buf())?;
    println!("ready");

    let stopping = console.listen();
    let closing = server.clone();
    let shutdown = thread::spawn(move || {
        if stopping.blocking_recv().is_ok() {
            closing.shutdown(Duration::from_secs(60));
        }
    });
    server.serve(listener)?;
    let ended = shutdown.join();
    ended.map_err(|_| Failure::new("the shutdown panicked"))
}

struct Service(Arc<Console>);

/// Keeps this thread until the console says `release` or the call is over.
fn hold(console: &Console, ctx: &Context) -> Result<()> {
    let (held, release) = ctx.clone().with_cancel();
    let went_on = console.hold_thread(
        move || release.cancel(),
        || {
            held.wait_cancelled(Duration::MAX);
            !ctx.is_cancelled()
        },
    );
    match went_on {
        true => Ok(()),
        false => Err(Status::cancelled("the call is over").into()),
    }
}

impl Interop for Service {
    fn echo(&self, _: &Context, request: BytesValue) -> Result<BytesValue> {
        Ok(request)
    }

    fn fill(&self, _: &Context, size: Int64Value) -> Result<BytesValue> {
        Ok(bytes(vec![0; size.value as usize]))
    }

    fn fail(&self, _: &Context, _: Empty) -> Result<Empty> {
        Err(failure().into())
    }

    fn metadata(&self, ctx: &Context, key: StringValue) -> Result<StringValue> {
        Ok(text(values(ctx, &key).join(",")))
    }

    fn time_left(&self, ctx: &Context, _: Empty) -> Result<Int64Value> {
        Ok(nanoseconds_left(ctx))
    }

    fn hold(&self, ctx: &Context, request: StringValue) -> Result<StringValue> {
        hold(&self.0, ctx)?;
        Ok(request)
    }

    fn snake_case(&self, _: &Context, request: StringValue) -> Result<StringValue> {
        Ok(request)
    }

    fn sum(&self, _: &Context, messages: Streaming<BytesValue>) -> Result<Int64Value> {
        let mut sum = 0;
        for message in messages {
            sum += message?.value.len() as i64;
        }
        Ok(int(sum))
    }

    fn count(&self, _: &Context, messages: Streaming<Empty>) -> Result<Int64Value> {
        let mut count = 0;
        for message in messages {
            message?;
            count += 1;
        }
        Ok(int(count))
    }

    fn first(&self, _: &Context, mut messages: Streaming<BytesValue>) -> Result<BytesValue> {
        first(messages.message()?)
    }

    fn parts(&self, _: &Context, sizes: StringValue) -> Result<Streaming<BytesValue>> {
        Ok(Streaming::from_iter(parts(&sizes)?))
    }

    fn numbers(&self, _: &Context, end: Int64Value) -> Result<Streaming<Int64Value>> {
        Ok(Streaming::from_iter((0..end.value).map(int)))
    }

    fn nothing(&self, _: &Context, nothing: Empty) -> Result<Streaming<Empty>> {
        Ok(Streaming::from_iter(vec![nothing; 3]))
    }

    fn fail_late(&self, _: &Context, end: Int64Value) -> Result<Streaming<Int64Value>> {
        Ok(Streaming::produce(move |numbers| {
            for number in 0..end.value {
                numbers.send(int(number))?;
            }
            Err(failure().into())
        }))
    }

    fn stream_metadata(&self, ctx: &Context, key: StringValue) -> Result<Streaming<StringValue>> {
        let values: Vec<_> = values(ctx, &key).into_iter().map(text).collect();
        Ok(Streaming::from_iter(values))
    }

    fn stream_time_left(&self, ctx: &Context, _: StringValue) -> Result<Streaming<Int64Value>> {
        Ok(Streaming::from_iter([nanoseconds_left(ctx)]))
    }

    fn hold_open(&self, ctx: &Context, message: StringValue) -> Result<Streaming<StringValue>> {
        let (console, ctx) = (Arc::clone(&self.0), ctx.clone());
        Ok(Streaming::produce(move |messages| {
            messages.send(message.clone())?;
            hold(&console, &ctx)?;
            messages.send(message.clone())?;
            messages.send(message)
        }))
    }

    fn snake_case_stream(
        &self,
        _: &Context,
        message: StringValue,
    ) -> Result<Streaming<StringValue>> {
        Ok(Streaming::from_iter([message]))
    }

    fn chat(&self, _: &Context, messages: Streaming<BytesValue>) -> Result<Streaming<BytesValue>> {
        Ok(messages)
    }

    fn chat_once(
        &self,
        _: &Context,
        mut messages: Streaming<BytesValue>,
    ) -> Result<Streaming<BytesValue>> {
        let first = messages.message()?;
        Ok(Streaming::from_iter(first))
    }

    fn chat_hold(
        &self,
        ctx: &Context,
        mut messages: Streaming<BytesValue>,
    ) -> Result<Streaming<BytesValue>> {
        let (console, ctx) = (Arc::clone(&self.0), ctx.clone());
        Ok(Streaming::produce(move |replies| {
            if let Some(first) = messages.message()? {
                replies.send(first)?;
            }
            hold(&console, &ctx)
        }))
    }
}
