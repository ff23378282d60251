//! A peer on the crate `trapeze`.

use std::collections::HashMap;
use std::sync::Arc;

use prost::DecodeError;
use prost::bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType, decode_varint, encode_key, encode_varint};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_stream::{Stream, StreamExt};
use trapeze::__codegen_prelude::{
    ClientStreamingMethod, DuplexStreamingMethod, MethodHandler, RequestHandler,
    ServerStreamingMethod, Service, UnaryMethod,
};
use trapeze::stream::try_stream;
use trapeze::{Client, ClientExt, Result, Server, Status, get_context};
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
    let server = Server::new().register(Interop(Arc::clone(&console)));
    let server = server.bind(&address).await?;
    println!("ready");
    console.listen().await?;
    server.shutdown();
    Ok(server.await?)
}

#[derive(Clone)]
struct Rival(Client);

/// A message of any type.
#[derive(Debug, Default)]
struct Raw(Vec<u8>);

impl prost::Message for Raw {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        buffer.put_slice(&self.0);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        _: DecodeContext,
    ) -> std::result::Result<(), DecodeError> {
        encode_key(tag, wire_type, &mut self.0);
        let number = decode_varint(buffer)?;
        encode_varint(number, &mut self.0);
        if wire_type == WireType::LengthDelimited {
            let len = usize::try_from(number).unwrap_or(usize::MAX);
            if len > buffer.remaining() {
                return Err(DecodeError::new("the message is cut off"));
            }
            self.0.put(buffer.take(len));
        }
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

impl Caller for Rival {
    async fn call(&self, call: Call, replies: Replies) -> std::result::Result<(), Failure> {
        let mut metadata = HashMap::<_, Vec<_>>::new();
        for (key, value) in call.metadata {
            metadata.entry(key).or_default().push(value);
        }
        let client = self.0.with_metadata(metadata);
        let client = match call.timeout_nano {
            None => client,
            // It has no word for what is past.
            Some(nano) => client.with_timeout(std::time::Duration::from_nanos(nano.max(1) as u64)),
        };
        let requests = UnboundedReceiverStream::new(call.requests).map(Raw);
        let request = Raw(call.payload);
        let (service, method) = (call.service, call.method);
        let result = match call.kind {
            Kind::Unary => {
                let reply = client.handle_unary_request(service, method, request);
                reply.await.map(|Raw(reply)| replies.message(&reply))
            }
            Kind::Client => {
                let reply = client.handle_client_streaming_request(service, method, requests);
                reply.await.map(|Raw(reply)| replies.message(&reply))
            }
            Kind::Server => {
                let stream = client.handle_server_streaming_request(service, method, request);
                tell(stream, &replies).await
            }
            Kind::Bidi => {
                let stream = client.handle_duplex_streaming_request(service, method, requests);
                tell(stream, &replies).await
            }
        };
        result.map_err(|status| Failure {
            code: status.code,
            message: status.message,
            details: status
                .details
                .into_iter()
                .map(|any| (any.type_url, any.value))
                .collect(),
        })
    }
}

async fn tell(stream: impl Stream<Item = Result<Raw>>, replies: &Replies) -> Result<()> {
    tokio::pin!(stream);
    while let Some(Raw(message)) = stream.try_next().await? {
        replies.message(&message);
    }
    Ok(())
}

fn failure() -> Status {
    let failure = ttrpc_interop_rivals::failure();
    let mut status = Status::failed_precondition(failure.message);
    status.details = failure
        .details
        .into_iter()
        .map(|(type_url, value)| prost_types::Any { type_url, value })
        .collect();
    status
}

fn values(key: &str) -> Vec<String> {
    let metadata = get_context().metadata.clone();
    metadata.get(key).cloned().unwrap_or_default()
}

fn timeout() -> i64 {
    get_context().timeout.as_nanos()
}

struct Interop(Arc<Console>);

type Messages<T> = UnboundedReceiverStream<T>;
type Handler = Arc<dyn MethodHandler + Send + Sync>;

/// prost's types for the well-known ones: `Vec<u8>` is BytesValue, `i64` Int64Value,
/// `String` StringValue and `()` Empty.
impl Service for Interop {
    fn methods(&self) -> Vec<(&'static str, Handler)> {
        let methods = [self.unary(), self.streams(), self.chats()].concat();
        let path = |name| &*format!("/{SERVICE}/{name}").leak();
        methods
            .into_iter()
            .map(|(name, method)| (path(name), method))
            .collect()
    }
}

impl Interop {
    fn unary(&self) -> Vec<(&'static str, Handler)> {
        let hold = Arc::clone(&self.0);
        vec![
            (
                "Echo",
                Arc::new(UnaryMethod::new(|bytes: Vec<u8>| async { Ok(bytes) })),
            ),
            (
                "Fill",
                Arc::new(UnaryMethod::new(|size: i64| async move {
                    Ok(vec![0_u8; size as usize])
                })),
            ),
            (
                "Fail",
                Arc::new(UnaryMethod::new(|(): ()| async { Err::<(), _>(failure()) })),
            ),
            (
                "Metadata",
                Arc::new(UnaryMethod::new(|key: String| async move {
                    Ok(values(&key).join(","))
                })),
            ),
            (
                "TimeLeft",
                Arc::new(UnaryMethod::new(|(): ()| async { Ok(timeout()) })),
            ),
            (
                "Hold",
                Arc::new(UnaryMethod::new(move |text: String| {
                    let console = Arc::clone(&hold);
                    async move {
                        console.hold().await;
                        Ok(text)
                    }
                })),
            ),
            (
                "snake_case",
                Arc::new(UnaryMethod::new(|text: String| async { Ok(text) })),
            ),
        ]
    }

    fn streams(&self) -> Vec<(&'static str, Handler)> {
        let hold = Arc::clone(&self.0);
        vec![
            (
                "Parts",
                Arc::new(ServerStreamingMethod::new(|sizes: String| {
                    let sizes: Vec<_> = sizes
                        .split_whitespace()
                        .map(|size| Ok(vec![0_u8; size.parse().unwrap_or_default()]))
                        .collect();
                    tokio_stream::iter(sizes)
                })),
            ),
            (
                "Numbers",
                Arc::new(ServerStreamingMethod::new(|end: i64| {
                    tokio_stream::iter((0..end).map(Ok))
                })),
            ),
            (
                "Nothing",
                Arc::new(ServerStreamingMethod::new(|(): ()| {
                    tokio_stream::iter([Ok(()), Ok(()), Ok(())])
                })),
            ),
            (
                "FailLate",
                Arc::new(ServerStreamingMethod::new(|end: i64| {
                    tokio_stream::iter((0..end).map(Ok).chain([Err(failure())]))
                })),
            ),
            (
                "StreamMetadata",
                Arc::new(ServerStreamingMethod::new(|key: String| {
                    tokio_stream::iter(values(&key).into_iter().map(Ok))
                })),
            ),
            (
                "StreamTimeLeft",
                Arc::new(ServerStreamingMethod::new(|_: String| {
                    tokio_stream::iter([Ok(timeout())])
                })),
            ),
            (
                "HoldOpen",
                Arc::new(ServerStreamingMethod::new(move |text: String| {
                    let console = Arc::clone(&hold);
                    try_stream! {
                        yield text.clone();
                        console.hold().await;
                        yield text.clone();
                        yield text;
                    }
                })),
            ),
            (
                "snake_case_stream",
                Arc::new(ServerStreamingMethod::new(|text: String| {
                    tokio_stream::iter([Ok(text)])
                })),
            ),
        ]
    }

    fn chats(&self) -> Vec<(&'static str, Handler)> {
        let hold = Arc::clone(&self.0);
        vec![
            (
                "Sum",
                Arc::new(ClientStreamingMethod::new(
                    |messages: Messages<Vec<u8>>| async move {
                        Ok(messages.fold(0, |sum, m| sum + m.len() as i64).await)
                    },
                )),
            ),
            (
                "Count",
                Arc::new(ClientStreamingMethod::new(
                    |messages: Messages<()>| async move {
                        Ok(messages.fold(0_i64, |count, ()| count + 1).await)
                    },
                )),
            ),
            (
                "First",
                Arc::new(ClientStreamingMethod::new(
                    |mut messages: Messages<Vec<u8>>| async move {
                        Ok(messages.next().await.unwrap_or_default())
                    },
                )),
            ),
            (
                "Chat",
                Arc::new(DuplexStreamingMethod::new(|messages: Messages<Vec<u8>>| {
                    messages.map(Ok)
                })),
            ),
            (
                "ChatOnce",
                Arc::new(DuplexStreamingMethod::new(|messages: Messages<Vec<u8>>| {
                    messages.take(1).map(Ok)
                })),
            ),
            (
                "ChatHold",
                Arc::new(DuplexStreamingMethod::new(
                    move |mut messages: Messages<Vec<u8>>| {
                        let console = Arc::clone(&hold);
                        try_stream! {
                            if let Some(first) = messages.next().await {
                                yield first;
                            }
                            console.hold().await;
                        }
                    },
                )),
            ),
        ]
    }
}
