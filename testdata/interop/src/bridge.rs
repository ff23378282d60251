//! Our blocking client behind the trait of the flavour with `async`: each call waits on a
//! thread of its own, and so does whoever feeds it.
//!
//! What is dropped on one side reaches the other: a call that is given up is cancelled,
//! and a stream of requests is dropped before the end of its call is told.

use std::thread;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use ttrpc_runtime::{Canceller, Context, Result, Status, Streaming, blocking};

/// A client of the blocking flavour, to be called with `await`.
#[derive(Clone)]
pub struct Bridge<C>(pub C);

impl<C: Clone + Send + 'static> Bridge<C> {
    pub async fn unary<Req, Rep, F>(&self, ctx: &Context, request: Req, call: F) -> Result<Rep>
    where
        Req: Send + 'static,
        Rep: Send + 'static,
        F: FnOnce(&C, &Context, Req) -> Result<Rep> + Send + 'static,
    {
        let (ctx, _given_up) = GivenUp::when_dropped(ctx);
        let client = self.0.clone();
        let (result, ended) = oneshot::channel();
        thread::spawn(move || {
            // If it was given up nobody wants to know.
            let _ = result.send(call(&client, &ctx, request));
        });
        ended.await.unwrap_or_else(|_| panicked())
    }

    pub async fn client<Req, Rep, F>(
        &self,
        ctx: &Context,
        requests: Streaming<Req>,
        call: F,
    ) -> Result<Rep>
    where
        Req: Send + 'static,
        Rep: Send + 'static,
        F: FnOnce(&C, &Context, blocking::Streaming<Req>) -> Result<Rep> + Send + 'static,
    {
        let (requests, feeder) = Feeder::start(requests);
        let call = move |client: &C, ctx: &Context, requests| {
            let result = call(client, ctx, requests);
            feeder.stop();
            result
        };
        self.unary(ctx, requests, call).await
    }

    pub async fn server<Req, Rep, F>(
        &self,
        ctx: &Context,
        request: Req,
        call: F,
    ) -> Result<Streaming<Rep>>
    where
        Req: Send + 'static,
        Rep: Send + 'static,
        F: FnOnce(&C, &Context, Req) -> Result<blocking::Streaming<Rep>> + Send + 'static,
    {
        let client = self.0.clone();
        let call = move |ctx: &Context| call(&client, ctx, request);
        replies(ctx, call, || ()).await
    }

    pub async fn bidi<Req, Rep, F>(
        &self,
        ctx: &Context,
        requests: Streaming<Req>,
        call: F,
    ) -> Result<Streaming<Rep>>
    where
        Req: Send + 'static,
        Rep: Send + 'static,
        F: FnOnce(&C, &Context, blocking::Streaming<Req>) -> Result<blocking::Streaming<Rep>>
            + Send
            + 'static,
    {
        let (requests, feeder) = Feeder::start(requests);
        let client = self.0.clone();
        let call = move |ctx: &Context| call(&client, ctx, requests);
        replies(ctx, call, || feeder.stop()).await
    }
}

/// The replies of a call, read on a thread; `over` is called before their end is told.
async fn replies<Rep: Send + 'static>(
    ctx: &Context,
    call: impl FnOnce(&Context) -> Result<blocking::Streaming<Rep>> + Send + 'static,
    over: impl FnOnce() + Send + 'static,
) -> Result<Streaming<Rep>> {
    let (ctx, given_up) = GivenUp::when_dropped(ctx);
    let (result, begun) = oneshot::channel();
    let (sender, mut messages) = mpsc::channel(1);
    thread::spawn(move || {
        let mut replies = match call(&ctx) {
            Ok(replies) => replies,
            Err(error) => {
                over();
                return drop(result.send(Err(error)));
            }
        };
        // If it was given up the replies end by that.
        let _ = result.send(Ok(()));
        let end = loop {
            match replies.message() {
                Ok(Some(message)) => {
                    let _ = sender.blocking_send(Ok(Some(message)));
                }
                end => break end,
            }
        };
        over();
        let _ = sender.blocking_send(end);
    });
    begun.await.unwrap_or_else(|_| panicked())?;
    Ok(Streaming::produce(async move |sender| {
        let _given_up = given_up;
        while let Some(message) = messages.recv().await.unwrap_or_else(panicked)? {
            sender.send(message).await?;
        }
        Ok(())
    }))
}

fn panicked<T>() -> Result<T> {
    Err(Status::internal("the thread of the call panicked").into())
}

/// Cancels a call when it is dropped.
struct GivenUp(Canceller);

impl GivenUp {
    fn when_dropped(ctx: &Context) -> (Context, Self) {
        let (ctx, canceller) = ctx.clone().with_cancel();
        (ctx, Self(canceller))
    }
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// The thread that sends the requests of a call.
struct Feeder {
    /// Whether the call is over: dropped, it is.
    over: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Feeder {
    fn start<Req: Send + 'static>(
        mut requests: Streaming<Req>,
    ) -> (blocking::Streaming<Req>, Self) {
        let (sender, fed) = blocking::Streaming::channel(1);
        let (over, mut is_over) = oneshot::channel();
        let runtime = Handle::current();
        let thread = thread::spawn(move || {
            let mut next = || {
                runtime.block_on(async {
                    tokio::select! {
                        biased;
                        _ = &mut is_over => Ok(None),
                        message = requests.message() => message,
                    }
                })
            };
            let end = loop {
                match next() {
                    // Refused, it is because the call is over.
                    Ok(Some(message)) => {
                        if sender.send(message).is_err() {
                            break Ok(());
                        }
                    }
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            drop(requests);
            sender.finish(end);
        });
        (fed, Self { over, thread })
    }

    /// Ends it, with the stream that it reads.
    fn stop(self) {
        drop(self.over);
        let _ = self.thread.join();
    }
}
