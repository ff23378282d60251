//! The same calls, whichever crate the messages come from.

#![allow(clippy::unwrap_used, clippy::field_reassign_with_default)]

/// What stands for `.await` in the asynchronous flavour.
macro_rules! awaited {
    ($call:expr) => {
        $call.await
    };
}

/// What stands for it in the blocking one.
macro_rules! waited {
    ($call:expr) => {
        $call
    };
}

/// The suite, for the messages and services of one message crate in one flavour. `$known` is
/// a module with what that crate makes of well-known types.
macro_rules! suite {
    (
        $name:ident, $services:path, $messages:path, $known:ident,
        $connect:ident, $runtime:path, [$($asynchronous:tt)?], $wait:ident, $test:meta
    ) => {
        mod $name {
            use ttrpc_runtime::codec::bytes::Bytes;
            use ttrpc_runtime::{Code, Context, Result};
            use $messages as messages;
            use $services as services;
            use $runtime as runtime;
            use self::runtime::{Server, Streaming};

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
                $($asynchronous)? fn echo(&self, _: &Context, request: Chunk) -> Result<Chunk> {
                    Ok(request)
                }

                $($asynchronous)? fn split(&self, _: &Context, request: Chunk) -> Result<Streaming<Chunk>> {
                    // Slices of what was received, without a copy.
                    let pieces = (0..request.data.len())
                        .map(move |at| chunk(&request.name, request.data.slice(at..=at)));
                    Ok(Streaming::from_iter(pieces))
                }

                $($asynchronous)? fn join(&self, _: &Context, mut requests: Streaming<Chunk>) -> Result<Chunk> {
                    let mut whole = Vec::new();
                    while let Some(chunk) = $wait!(requests.message())? {
                        whole.extend_from_slice(&chunk.data);
                    }
                    Ok(chunk("whole", whole))
                }

                $($asynchronous)? fn exchange(
                    &self,
                    _: &Context,
                    mut requests: Streaming<Chunk>,
                ) -> Result<Streaming<Chunk>> {
                    Ok(Streaming::produce($($asynchronous)? move |replies| {
                        while let Some(chunk) = $wait!(requests.message())? {
                            $wait!(replies.send(chunk))?;
                        }
                        Ok(())
                    }))
                }

                $($asynchronous)? fn now(&self, _: &Context, _: Empty) -> Result<Time> {
                    let mut time = Time::default();
                    time.seconds = 7;
                    Ok(time)
                }

                $($asynchronous)? fn length(&self, _: &Context, request: Text) -> Result<Number> {
                    Ok(known::number(known::text_of(request).len() as u64))
                }
            }

            fn serve(service: impl Kinds) -> KindsClient {
                let server = Server::builder().service(KindsServer::new(service));
                KindsClient::new(crate::$connect(server.build().unwrap()))
            }

            #[$test]
            $($asynchronous)? fn a_message_comes_back_as_it_was() {
                let mut sent = chunk("all", "data");
                sent.numbers = vec![1, -2, i64::MAX];
                sent.parts.insert("part".to_owned(), b"x".to_vec().into());
                sent.note = Some(Bytes::new());
                sent.lines = vec![Bytes::from_static(b"one"), Bytes::new()];
                let ctx = Context::default();
                let received = $wait!(serve(Service).echo(&ctx, sent.clone())).unwrap();
                assert_eq!(received, sent);
                let nothing = Chunk::default();
                let received = $wait!(serve(Service).echo(&ctx, nothing.clone())).unwrap();
                assert_eq!(received, nothing);
            }

            #[$test]
            $($asynchronous)? fn streams_carry_messages() {
                let client = serve(Service);
                let ctx = Context::default();
                let mut pieces = $wait!(client.split(&ctx, chunk("n", "abc"))).unwrap();
                for byte in ["a", "b", "c"] {
                    assert_eq!($wait!(pieces.message()).unwrap(), Some(chunk("n", byte)));
                }
                assert_eq!($wait!(pieces.message()).unwrap(), None);

                let pieces = Streaming::from_iter(["a", "b"].map(|byte| chunk("n", byte)));
                let whole = $wait!(client.join(&ctx, pieces)).unwrap();
                assert_eq!(whole, chunk("whole", "ab"));

                let (sender, requests) = Streaming::channel(1);
                let mut replies = $wait!(client.exchange(&ctx, requests)).unwrap();
                $wait!(sender.send(chunk("ping", "1"))).unwrap();
                let reply = $wait!(replies.message()).unwrap();
                assert_eq!(reply, Some(chunk("ping", "1")));
                drop(sender);
                assert_eq!($wait!(replies.message()).unwrap(), None);
            }

            #[$test]
            $($asynchronous)? fn well_known_types_are_those_of_the_crate() {
                let client = serve(Service);
                let ctx = Context::default();
                let time = $wait!(client.now(&ctx, Empty::default())).unwrap();
                assert_eq!(time.seconds, 7);
                let length = $wait!(client.length(&ctx, known::text("four"))).unwrap();
                assert_eq!(length, known::number(4));
            }

            #[$test]
            $($asynchronous)? fn what_is_no_message_fails_that_call_alone() {
                struct Garbage;

                impl runtime::Service for Garbage {
                    fn name(&self) -> &'static str {
                        "kinds.v1.Kinds"
                    }

                    fn call(&self, call: runtime::Call) -> runtime::Reply {
                        call.unary(ttrpc_runtime::codec::Raw, $($asynchronous)? |_, _: Bytes| {
                            Ok(Bytes::from_static(b"\xff"))
                        })
                    }
                }

                let server = Server::builder().service(Garbage);
                let client = KindsClient::new(crate::$connect(server.build().unwrap()));
                let ctx = Context::default();
                let error = $wait!(client.echo(&ctx, Chunk::default())).unwrap_err();
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

/// A client of a server in a task of its own.
fn asynchronous(server: ttrpc_runtime::Server) -> ttrpc_runtime::Client {
    let (here, there) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move { server.serve_connection(there).await });
    ttrpc_runtime::Client::new(here)
}

/// A client of a server in a thread of its own.
fn blocking(server: ttrpc_runtime::blocking::Server) -> ttrpc_runtime::blocking::Client {
    let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
    std::thread::spawn(move || server.serve_connection(there));
    ttrpc_runtime::blocking::Client::new(here).unwrap()
}

/// Both flavours.
macro_rules! suites {
    ($name:ident, $services:path, $blocking:path, $messages:path, $known:ident) => {
        mod $name {
            suite!(
                asynchronous, $services, $messages, $known,
                asynchronous, ttrpc_runtime, [async], awaited, tokio::test
            );
            suite!(
                blocking, $blocking, $messages, $known,
                blocking, ttrpc_runtime::blocking, [], waited, test
            );
        }
    };
}

suites!(
    by_protobuf,
    ttrpc_backends::by_protobuf::kinds_ttrpc,
    ttrpc_backends::by_protobuf::kinds_ttrpc::blocking,
    ttrpc_backends::by_protobuf::kinds,
    known_by_protobuf
);
suites!(
    by_prost,
    ttrpc_backends::by_prost::kinds_ttrpc,
    ttrpc_backends::by_prost::kinds_ttrpc::blocking,
    ttrpc_backends::by_prost::kinds::v1,
    known_by_prost
);
suites!(
    by_buffa,
    ttrpc_backends::by_buffa::kinds_ttrpc,
    ttrpc_backends::by_buffa::kinds_ttrpc::blocking,
    ttrpc_backends::by_buffa::kinds::v1,
    known_by_buffa
);
