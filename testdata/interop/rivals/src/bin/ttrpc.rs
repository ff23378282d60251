//! A peer on the crate `ttrpc`, its asynchronous flavour.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use protobuf::Message;
use protobuf::well_known_types::empty::Empty;
use protobuf::well_known_types::wrappers::{BytesValue, Int64Value, StringValue};
use ttrpc::r#async::{
    Client, ClientStream, MethodHandler, Server, ServerStream, Service, StreamHandler, StreamInner,
    TtrpcContext,
};
use ttrpc::proto::{KeyValue, Request, Response, Status};
use ttrpc::{Code, Error, Result, get_status};
use ttrpc_interop_rivals::{Call, Caller, Console, Failure, Kind, Replies, SERVICE, mode, obey};

#[tokio::main(worker_threads = 2)]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let (mode, socket) = mode();
    let address = format!("unix://{socket}");
    if mode == "call" {
        let client = Client::connect(&address).await?;
        tokio::task::spawn_blocking(|| obey(Rival(client))).await?;
        return Ok(());
    }
    let console = Arc::new(Console::default());
    let service = service(&console);
    let mut server = Server::new()
        .register_service(HashMap::from([(SERVICE.to_owned(), service)]))
        .bind(&address)?;
    server.start().await?;
    println!("ready");
    console.listen().await?;
    server.shutdown().await?;
    Ok(())
}

#[derive(Clone)]
struct Rival(Client);

/// A message of any type: one whose fields are all unknown keeps its bytes.
fn any(payload: &[u8]) -> Result<Empty> {
    Empty::parse_from_bytes(payload).map_err(|error| Error::Others(error.to_string()))
}

impl Caller for Rival {
    async fn call(&self, call: Call, replies: Replies) -> std::result::Result<(), Failure> {
        self.run(call, replies).await.map_err(explain)
    }
}

impl Rival {
    async fn run(&self, call: Call, replies: Replies) -> Result<()> {
        let mut request = Request::new();
        request.service = call.service;
        request.method = call.method;
        request.timeout_nano = call.timeout_nano.unwrap_or_default();
        request.payload = call.payload;
        let pair = |(key, value): (String, String)| {
            let mut pair = KeyValue::new();
            // What its `Context` does.
            pair.key = key.to_lowercase();
            pair.value = value;
            pair
        };
        request.metadata = call.metadata.into_iter().map(pair).collect();
        if call.kind == Kind::Unary {
            let response = self.0.request(request).await?;
            replies.message(&response.payload);
            return Ok(());
        }

        let (sends, receives) = (call.kind != Kind::Server, call.kind != Kind::Client);
        let inner = self.0.new_stream(request, sends, receives).await?;
        let (sender, mut receiver) = ClientStream::<Empty, Empty>::new(inner).split();
        let mut requests = call.requests;
        let sending = async {
            while let Some(request) = requests.recv().await {
                sender.send(&any(&request)?).await?;
            }
            sender.close_send().await
        };
        let receiving = async {
            loop {
                match receiver.recv().await {
                    Ok(message) => replies.message(&message.write_to_bytes().unwrap_or_default()),
                    Err(Error::Eof) => return Ok(()),
                    Err(error) => return Err(error),
                }
                if !receives {
                    return Ok(());
                }
            }
        };
        tokio::pin!(receiving);
        tokio::select! {
            sent = sending, if sends => sent?,
            received = &mut receiving => return received,
        }
        receiving.await
    }
}

fn explain(error: Error) -> Failure {
    let code = match error {
        Error::RpcStatus(status) => {
            let details = status.details.iter();
            return Failure {
                code: status.code.value(),
                details: details
                    .map(|any| (any.type_url.clone(), any.value.clone()))
                    .collect(),
                message: status.message,
            };
        }
        Error::Socket(_) | Error::RemoteClosed | Error::LocalClosed => Code::UNAVAILABLE,
        _ => Code::UNKNOWN,
    };
    Failure {
        code: code as i32,
        message: error.to_string(),
        details: Vec::new(),
    }
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// A unary method. What is around it is what its generator writes.
struct Unary<F>(F);

#[async_trait]
impl<F> MethodHandler for Unary<F>
where
    F: Fn(TtrpcContext, Vec<u8>) -> Answer<Vec<u8>> + Send + Sync,
{
    async fn handler(&self, ctx: TtrpcContext, request: Request) -> Result<Response> {
        let mut response = Response::new();
        match self.0(ctx, request.payload).await {
            Ok(payload) => {
                response.set_status(get_status(Code::OK, ""));
                response.payload = payload;
            }
            Err(Error::RpcStatus(status)) => response.set_status(status),
            Err(error) => response.set_status(get_status(Code::UNKNOWN, error)),
        }
        Ok(response)
    }
}

struct Stream<F>(F);

#[async_trait]
impl<F> StreamHandler for Stream<F>
where
    F: Fn(TtrpcContext, StreamInner) -> Answer<Option<Vec<u8>>> + Send + Sync,
{
    async fn handler(&self, ctx: TtrpcContext, stream: StreamInner) -> Result<Option<Response>> {
        let mut response = Response::new();
        match self.0(ctx, stream).await {
            Ok(None) => return Ok(None),
            Ok(Some(payload)) => {
                response.set_status(get_status(Code::OK, ""));
                response.payload = payload;
            }
            Err(Error::RpcStatus(status)) => response.set_status(status),
            Err(error) => response.set_status(get_status(Code::UNKNOWN, error)),
        }
        Ok(Some(response))
    }
}

fn decode<M: Message>(payload: &[u8]) -> Result<M> {
    M::parse_from_bytes(payload).map_err(|error| Error::Others(error.to_string()))
}

fn bytes(value: impl Into<Vec<u8>>) -> BytesValue {
    let mut message = BytesValue::new();
    message.value = value.into();
    message
}

fn text(value: impl Into<String>) -> StringValue {
    let mut message = StringValue::new();
    message.value = value.into();
    message
}

fn int(value: i64) -> Int64Value {
    let mut message = Int64Value::new();
    message.value = value;
    message
}

fn failure() -> Error {
    let failure = ttrpc_interop_rivals::failure();
    let mut status: Status = get_status(Code::FAILED_PRECONDITION, failure.message);
    for (type_url, value) in failure.details {
        let mut any = ttrpc::proto::Any::new();
        any.type_url = type_url;
        any.value = value;
        status.details.push(any);
    }
    Error::RpcStatus(status)
}

fn values(ctx: &TtrpcContext, key: &str) -> Vec<String> {
    ctx.metadata.get(key).cloned().unwrap_or_default()
}

fn service(console: &Arc<Console>) -> Service {
    let mut service = Service {
        methods: HashMap::new(),
        streams: HashMap::new(),
    };
    let hold = Arc::clone(console);
    unary(&mut service, "Echo", |_, request: BytesValue| async {
        Ok(request)
    });
    unary(&mut service, "Fill", |_, size: Int64Value| async move {
        Ok(bytes(vec![0; size.value as usize]))
    });
    unary(&mut service, "Fail", |_, _: Empty| async {
        Err::<Empty, _>(failure())
    });
    unary(
        &mut service,
        "Metadata",
        |ctx, key: StringValue| async move { Ok(text(values(&ctx, &key.value).join(","))) },
    );
    unary(&mut service, "TimeLeft", |ctx, _: Empty| async move {
        Ok(int(ctx.timeout_nano))
    });
    unary(&mut service, "Hold", move |_, message: StringValue| {
        let console = Arc::clone(&hold);
        async move {
            console.hold().await;
            Ok(message)
        }
    });
    unary(
        &mut service,
        "snake_case",
        |_, message: StringValue| async { Ok(message) },
    );
    streams(&mut service, console);
    service
}

/// Adds a unary method.
fn unary<Req, Rep, Fut>(
    service: &mut Service,
    name: &str,
    method: impl Fn(TtrpcContext, Req) -> Fut + Clone + Send + Sync + 'static,
) where
    Req: Message,
    Rep: Message,
    Fut: Future<Output = Result<Rep>> + Send + 'static,
{
    let handler = Unary(move |ctx, payload: Vec<u8>| {
        let method = method.clone();
        Box::pin(async move {
            let reply = method(ctx, decode(&payload)?).await?;
            Ok(reply.write_to_bytes().unwrap_or_default())
        }) as Answer<Vec<u8>>
    });
    service.methods.insert(name.to_owned(), Box::new(handler));
}

type Chat = ServerStream<BytesValue, BytesValue>;

fn streams(service: &mut Service, console: &Arc<Console>) {
    client(service, "Sum", |mut messages| async move {
        let mut sum = 0;
        while let Some(message) = messages.recv().await? {
            sum += message.value.len() as i64;
        }
        Ok(int(sum))
    });
    client(service, "Count", |mut messages| async move {
        let mut count = 0;
        while messages.recv().await?.is_some() {
            count += 1;
        }
        Ok(int(count))
    });
    client(service, "First", |mut messages| async move {
        let first = messages.recv().await?;
        Ok(first.unwrap_or_default())
    });
    server(
        service,
        "Parts",
        |_, sizes: StringValue, replies| async move {
            for size in sizes.value.split_whitespace() {
                let size = size.parse().unwrap_or_default();
                replies.send(&bytes(vec![0; size])).await?;
            }
            Ok(())
        },
    );
    server(
        service,
        "Numbers",
        |_, end: Int64Value, replies| async move {
            for number in 0..end.value {
                replies.send(&int(number)).await?;
            }
            Ok(())
        },
    );
    server(
        service,
        "Nothing",
        |_, nothing: Empty, replies| async move {
            for _ in 0..3 {
                replies.send(&nothing).await?;
            }
            Ok(())
        },
    );
    server(
        service,
        "FailLate",
        |_, end: Int64Value, replies| async move {
            for number in 0..end.value {
                replies.send(&int(number)).await?;
            }
            Err(failure())
        },
    );
    server(
        service,
        "StreamMetadata",
        |ctx, key: StringValue, replies| async move {
            for value in values(&ctx, &key.value) {
                replies.send(&text(value)).await?;
            }
            Ok(())
        },
    );
    server(
        service,
        "StreamTimeLeft",
        |ctx, _: StringValue, replies| async move { replies.send(&int(ctx.timeout_nano)).await },
    );
    let hold = Arc::clone(console);
    server(
        service,
        "HoldOpen",
        move |_, message: StringValue, replies| {
            let console = Arc::clone(&hold);
            async move {
                replies.send(&message).await?;
                console.hold().await;
                replies.send(&message).await?;
                replies.send(&message).await
            }
        },
    );
    server(
        service,
        "snake_case_stream",
        |_, message: StringValue, replies| async move { replies.send(&message).await },
    );
    bidi(service, "Chat", |mut chat: Chat| async move {
        while let Some(message) = chat.recv().await? {
            chat.send(&message).await?;
        }
        Ok(())
    });
    bidi(service, "ChatOnce", |mut chat: Chat| async move {
        match chat.recv().await? {
            Some(message) => chat.send(&message).await,
            None => Ok(()),
        }
    });
    let hold = Arc::clone(console);
    bidi(service, "ChatHold", move |mut chat: Chat| {
        let console = Arc::clone(&hold);
        async move {
            if let Some(message) = chat.recv().await? {
                chat.send(&message).await?;
            }
            console.hold().await;
            Ok(())
        }
    });
}

/// Adds a method that takes a stream and gives one message.
fn client<Rep, Fut>(
    service: &mut Service,
    name: &str,
    method: impl Fn(Chat) -> Fut + Clone + Send + Sync + 'static,
) where
    Rep: Message,
    Fut: Future<Output = Result<Rep>> + Send + 'static,
{
    stream(service, name, move |_, stream| {
        let method = method.clone();
        Box::pin(async move {
            let reply = method(ServerStream::new(stream)).await?;
            Ok(Some(reply.write_to_bytes().unwrap_or_default()))
        })
    });
}

/// Adds a method that takes one message and gives a stream.
fn server<Req, Rep, Fut>(
    service: &mut Service,
    name: &str,
    method: impl Fn(TtrpcContext, Req, ServerStream<Rep, Empty>) -> Fut + Clone + Send + Sync + 'static,
) where
    Req: Message,
    Rep: Message,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    stream(service, name, move |ctx, mut stream| {
        let method = method.clone();
        Box::pin(async move {
            let request = decode(&stream.recv().await?)?;
            method(ctx, request, ServerStream::new(stream)).await?;
            Ok(None)
        })
    });
}

/// Adds a method that takes a stream and gives one.
fn bidi<Fut>(
    service: &mut Service,
    name: &str,
    method: impl Fn(Chat) -> Fut + Clone + Send + Sync + 'static,
) where
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    stream(service, name, move |_, stream| {
        let method = method.clone();
        Box::pin(async move {
            method(ServerStream::new(stream)).await?;
            Ok(None)
        })
    });
}

fn stream(
    service: &mut Service,
    name: &str,
    method: impl Fn(TtrpcContext, StreamInner) -> Answer<Option<Vec<u8>>> + Send + Sync + 'static,
) {
    let handler = Arc::new(Stream(method));
    service.streams.insert(name.to_owned(), handler);
}
