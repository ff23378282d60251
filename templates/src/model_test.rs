//! The templates do what generated code has to, before anything is generated: the same
//! tests for both flavours.

use ttrpc_runtime::blocking::Server;
use ttrpc_runtime::{Context, Result};

use crate::blocking::{ModelClient, ModelServer};
use crate::{Reply, Request};

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

/// The tests of one flavour: its template, its part of the runtime, `async` or nothing, the
/// macro that waits, and the attribute of a test.
macro_rules! tests {
    ($flavour:ident, $runtime:path, [$($asynchronous:tt)?], $wait:ident, $test:meta) => {
        mod $flavour {
            use $runtime as runtime;
            use runtime::{Server, Streaming};
            use ttrpc_runtime::{Code, Context, Result, Status};

            use crate::$flavour::{Model, ModelClient, ModelServer};
            use crate::{Reply, Request};

            /// Adds ten to whatever it gets.
            struct Adder;

            impl Model for Adder {
                $($asynchronous)? fn unary(&self, _: &Context, request: Request) -> Result<Reply> {
                    match request.0 {
                        0 => Err(Status::invalid_argument("zero").into()),
                        n => Ok(Reply(n + 10)),
                    }
                }

                $($asynchronous)? fn server_stream(
                    &self,
                    _: &Context,
                    request: Request,
                ) -> Result<Streaming<Reply>> {
                    Ok(Streaming::from_iter((0..request.0).map(Reply)))
                }

                $($asynchronous)? fn client_stream(
                    &self,
                    _: &Context,
                    mut requests: Streaming<Request>,
                ) -> Result<Reply> {
                    let mut sum = 0;
                    while let Some(request) = $wait!(requests.message())? {
                        sum += request.0;
                    }
                    Ok(Reply(sum))
                }

                $($asynchronous)? fn bidi(
                    &self,
                    _: &Context,
                    mut requests: Streaming<Request>,
                ) -> Result<Streaming<Reply>> {
                    Ok(Streaming::produce($($asynchronous)? move |replies| {
                        while let Some(request) = $wait!(requests.message())? {
                            $wait!(replies.send(Reply(request.0 + 10)))?;
                        }
                        Ok(())
                    }))
                }
            }

            /// Implements nothing.
            struct Nothing;

            impl Model for Nothing {}

            fn serve(service: impl Model) -> ModelClient {
                let server = Server::builder().service(ModelServer::new(service));
                ModelClient::new(super::$flavour(server.build().unwrap()))
            }

            $($asynchronous)? fn collect(mut replies: Streaming<Reply>) -> Vec<u8> {
                let mut all = Vec::new();
                while let Some(reply) = $wait!(replies.message()).unwrap() {
                    all.push(reply.0);
                }
                all
            }

            #[$test]
            $($asynchronous)? fn all_four_kinds() {
                let client = serve(Adder);
                let ctx = Context::default();
                let reply = $wait!(client.unary(&ctx, Request(5)));
                assert_eq!(reply.unwrap(), Reply(15));
                let error = $wait!(client.unary(&ctx, Request(0))).unwrap_err();
                assert_eq!(error.status(), Some(&Status::invalid_argument("zero")));

                let replies = $wait!(client.server_stream(&ctx, Request(4))).unwrap();
                assert_eq!($wait!(collect(replies)), [0, 1, 2, 3]);

                let requests = Streaming::from_iter((1..=5).map(Request));
                let reply = $wait!(client.client_stream(&ctx, requests));
                assert_eq!(reply.unwrap(), Reply(15));

                let (sender, requests) = Streaming::channel(1);
                let mut replies = $wait!(client.bidi(&ctx, requests)).unwrap();
                for n in 1..5 {
                    $wait!(sender.send(Request(n))).unwrap();
                    let reply = $wait!(replies.message());
                    assert_eq!(reply.unwrap(), Some(Reply(n + 10)));
                }
                drop(sender);
                assert_eq!($wait!(replies.message()).unwrap(), None);
            }

            #[$test]
            $($asynchronous)? fn what_is_not_implemented_says_so() {
                let client = serve(Nothing);
                let ctx = Context::default();
                let error = $wait!(client.unary(&ctx, Request(1))).unwrap_err();
                assert_eq!(error.code(), Code::UNIMPLEMENTED);
                assert_eq!(
                    error.status().unwrap().message,
                    "model.Model does not implement Unary"
                );
                let mut replies = $wait!(client.bidi(&ctx, Streaming::from_iter([]))).unwrap();
                let error = $wait!(replies.message()).unwrap_err();
                assert_eq!(error.code(), Code::UNIMPLEMENTED);
            }

            /// The service without a socket is the same service.
            #[$test]
            $($asynchronous)? fn an_implementation_is_called_like_a_client() {
                let requests = Streaming::from_iter([Request(1), Request(2)]);
                let ctx = Context::default();
                let replies = $wait!(Adder.bidi(&ctx, requests)).unwrap();
                assert_eq!($wait!(collect(replies)), [11, 12]);
            }
        }
    };
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

tests!(asynchronous, ttrpc_runtime, [async], awaited, tokio::test);
tests!(blocking, ttrpc_runtime::blocking, [], waited, test);

/// What the blocking flavour has beside a client's methods.
#[test]
fn calls_that_are_begun() {
    struct Next;

    impl crate::blocking::Model for Next {
        fn unary(&self, _: &Context, request: Request) -> Result<Reply> {
            Ok(Reply(request.0 + 1))
        }
    }

    let server = Server::builder().service(ModelServer::new(Next));
    let client = blocking(server.build().unwrap());
    let ctx = Context::default();
    let calls = [1, 2, 3].map(|n| client.start(&ctx, ModelClient::UNARY, Request(n)));
    let replies = calls.map(|call| call.wait().unwrap());
    assert_eq!(replies, [Reply(2), Reply(3), Reply(4)]);
}
