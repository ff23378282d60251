//! The same calls, whichever crate the messages come from.

#![allow(clippy::unwrap_used, clippy::field_reassign_with_default)]

/// The suite, for the messages and services of one message crate. `$known` is a module with
/// what that crate makes of well-known types.
macro_rules! suite {
    ($name:ident, $services:path, $messages:path, $known:ident) => {
        mod $name {
            use ttrpc_runtime::codec::bytes::Bytes;
            use ttrpc_runtime::{Client, Code, Context, Result, Server, Streaming};
            use $messages as messages;
            use $services as services;

            use self::messages::Chunk;
            use self::services::{Kinds, KindsClient, KindsServer};
            use crate::$known::{self as known, Empty, Number, Text, Time};

            struct Service;

            fn chunk(name: &str, data: impl Into<Bytes>) -> Chunk {
                let mut chunk = Chunk::default();
                chunk.name = name.to_owned();
                chunk.data = data.into();
                chunk
            }

            impl Kinds for Service {
                async fn echo(&self, _: &Context, request: Chunk) -> Result<Chunk> {
                    Ok(request)
                }

                async fn split(&self, _: &Context, request: Chunk) -> Result<Streaming<Chunk>> {
                    // Slices of what was received, without a copy.
                    let pieces = (0..request.data.len())
                        .map(move |at| chunk(&request.name, request.data.slice(at..=at)));
                    Ok(Streaming::from_iter(pieces))
                }

                async fn join(&self, _: &Context, mut requests: Streaming<Chunk>) -> Result<Chunk> {
                    let mut whole = Vec::new();
                    while let Some(chunk) = requests.message().await? {
                        whole.extend_from_slice(&chunk.data);
                    }
                    Ok(chunk("whole", whole))
                }

                async fn exchange(
                    &self,
                    _: &Context,
                    mut requests: Streaming<Chunk>,
                ) -> Result<Streaming<Chunk>> {
                    Ok(Streaming::produce(async move |replies| {
                        while let Some(chunk) = requests.message().await? {
                            replies.send(chunk).await?;
                        }
                        Ok(())
                    }))
                }

                async fn now(&self, _: &Context, _: Empty) -> Result<Time> {
                    let mut time = Time::default();
                    time.seconds = 7;
                    Ok(time)
                }

                async fn length(&self, _: &Context, request: Text) -> Result<Number> {
                    Ok(known::number(known::text_of(request).len() as u64))
                }
            }

            fn serve(service: impl Kinds) -> KindsClient {
                let (here, there) = tokio::io::duplex(1 << 16);
                let server = Server::builder().service(KindsServer::new(service));
                let server = server.build().unwrap();
                tokio::spawn(async move { server.serve_connection(there).await });
                KindsClient::new(Client::new(here))
            }

            #[tokio::test]
            async fn a_message_comes_back_as_it_was() {
                let mut sent = chunk("all", "data");
                sent.numbers = vec![1, -2, i64::MAX];
                sent.parts.insert("part".to_owned(), b"x".to_vec().into());
                sent.note = Some(Bytes::new());
                sent.lines = vec![Bytes::from_static(b"one"), Bytes::new()];
                let ctx = Context::default();
                let received = serve(Service).echo(&ctx, sent.clone()).await.unwrap();
                assert_eq!(received, sent);
                let nothing = Chunk::default();
                let received = serve(Service).echo(&ctx, nothing.clone()).await.unwrap();
                assert_eq!(received, nothing);
            }

            #[tokio::test]
            async fn streams_carry_messages() {
                let client = serve(Service);
                let ctx = Context::default();
                let mut pieces = client.split(&ctx, chunk("n", "abc")).await.unwrap();
                for byte in ["a", "b", "c"] {
                    assert_eq!(pieces.message().await.unwrap(), Some(chunk("n", byte)));
                }
                assert_eq!(pieces.message().await.unwrap(), None);

                let pieces = Streaming::from_iter(["a", "b"].map(|byte| chunk("n", byte)));
                let whole = client.join(&ctx, pieces).await.unwrap();
                assert_eq!(whole, chunk("whole", "ab"));

                let (sender, requests) = Streaming::channel(1);
                let mut replies = client.exchange(&ctx, requests).await.unwrap();
                sender.send(chunk("ping", "1")).await.unwrap();
                let reply = replies.message().await.unwrap();
                assert_eq!(reply, Some(chunk("ping", "1")));
                drop(sender);
                assert_eq!(replies.message().await.unwrap(), None);
            }

            #[tokio::test]
            async fn well_known_types_are_those_of_the_crate() {
                let client = serve(Service);
                let ctx = Context::default();
                let time = client.now(&ctx, Empty::default()).await.unwrap();
                assert_eq!(time.seconds, 7);
                let length = client.length(&ctx, known::text("four")).await.unwrap();
                assert_eq!(length, known::number(4));
            }

            #[tokio::test]
            async fn what_is_no_message_fails_that_call_alone() {
                struct Garbage;

                impl ttrpc_runtime::Service for Garbage {
                    fn name(&self) -> &'static str {
                        "kinds.v1.Kinds"
                    }

                    fn call(&self, call: ttrpc_runtime::Call) -> ttrpc_runtime::Reply {
                        call.unary(ttrpc_runtime::codec::Raw, async |_, _: Bytes| {
                            Ok(Bytes::from_static(b"\xff"))
                        })
                    }
                }

                let (here, there) = tokio::io::duplex(1 << 16);
                let server = Server::builder().service(Garbage).build().unwrap();
                tokio::spawn(async move { server.serve_connection(there).await });
                let client = KindsClient::new(Client::new(here));
                let ctx = Context::default();
                let error = client.echo(&ctx, Chunk::default()).await.unwrap_err();
                assert!(error.to_string().contains("not a"), "{error}");
                assert_ne!(error.code(), Code::OK);
            }
        }
    };
}

mod known_by_protobuf {
    pub(crate) use protobuf::well_known_types::empty::Empty;
    pub(crate) use protobuf::well_known_types::timestamp::Timestamp as Time;
    pub(crate) use protobuf::well_known_types::wrappers::{
        StringValue as Text, UInt64Value as Number,
    };

    pub(crate) fn text(value: &str) -> Text {
        let mut text = Text::new();
        text.value = value.to_owned();
        text
    }

    pub(crate) fn text_of(text: Text) -> String {
        text.value
    }

    pub(crate) fn number(value: u64) -> Number {
        let mut number = Number::new();
        number.value = value;
        number
    }
}

mod known_by_prost {
    pub(crate) use prost_types::Timestamp as Time;
    pub(crate) use {String as Text, u64 as Number};

    pub(crate) type Empty = ();

    pub(crate) fn text(value: &str) -> Text {
        value.to_owned()
    }

    pub(crate) fn text_of(text: Text) -> String {
        text
    }

    pub(crate) fn number(value: u64) -> Number {
        value
    }
}

mod known_by_buffa {
    pub(crate) use buffa_types::google::protobuf::{
        Empty, StringValue as Text, Timestamp as Time, UInt64Value as Number,
    };

    pub(crate) fn text(value: &str) -> Text {
        let mut text = Text::default();
        text.value = value.to_owned();
        text
    }

    pub(crate) fn text_of(text: Text) -> String {
        text.value
    }

    pub(crate) fn number(value: u64) -> Number {
        let mut number = Number::default();
        number.value = value;
        number
    }
}

suite!(
    by_protobuf,
    ttrpc_backends::by_protobuf::kinds_ttrpc,
    ttrpc_backends::by_protobuf::kinds,
    known_by_protobuf
);
suite!(
    by_prost,
    ttrpc_backends::by_prost::kinds_ttrpc,
    ttrpc_backends::by_prost::kinds::v1,
    known_by_prost
);
suite!(
    by_buffa,
    ttrpc_backends::by_buffa::kinds_ttrpc,
    ttrpc_backends::by_buffa::kinds::v1,
    known_by_buffa
);
