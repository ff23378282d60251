//! Every method of every service is called once over a connection, in both flavours. That
//! nobody implements them is told by what the .proto file calls them.
#![allow(deprecated)]

use ttrpc_runtime::{Code, Error, Result};

/// Leaves every method to its default.
struct Nobody;

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

/// How each kind of rpc is called, and how it fails.
macro_rules! failure {
    ($wait:ident, $call:path, $client:expr, $ctx:expr, unary) => {
        told($wait!($call($client, $ctx, Default::default())))
    };
    ($wait:ident, $call:path, $client:expr, $ctx:expr, client_streaming) => {
        told($wait!($call(
            $client,
            $ctx,
            runtime::Streaming::from_iter(None)
        )))
    };
    ($wait:ident, $call:path, $client:expr, $ctx:expr, server_streaming) => {
        match $wait!($call($client, $ctx, Default::default())) {
            Ok(mut replies) => told($wait!(replies.message())),
            Err(error) => error,
        }
    };
    ($wait:ident, $call:path, $client:expr, $ctx:expr, streaming) => {
        match $wait!($call($client, $ctx, runtime::Streaming::from_iter(None))) {
            Ok(mut replies) => told($wait!(replies.message())),
            Err(error) => error,
        }
    };
}

macro_rules! suite {
    (
        $services:path, $connect:ident, $runtime:path, [$($asynchronous:tt)?], $wait:ident,
        $test:meta, {$(
            $service:literal $tr:ident $client:ident $server:ident {$(
                $rpc:literal $method:ident $kind:ident
            )+}
        )+}
    ) => {
        mod $connect {
            use crate::{Code, Nobody, told};
            use $runtime as runtime;
            use $services as services;

            $(impl services::$tr for Nobody {})+

            #[$test]
            $($asynchronous)? fn every_method_is_called() {
                let server = runtime::Server::builder();
                $(let server = server.service(services::$server::new(Nobody));)+
                let client = crate::$connect(server.build().unwrap());
                let ctx = ttrpc_runtime::Context::default();
                $(
                    let service = services::$client::new(client.clone());
                    $(
                        let error = failure!($wait, services::$tr::$method, &service, &ctx, $kind);
                        let expected = concat!($service, " does not implement ", $rpc);
                        assert_eq!(error.code(), Code::UNIMPLEMENTED, "{expected}: {error}");
                        assert_eq!(error.into_status().message, expected);
                    )+
                )+
            }
        }
    };
}

/// Both flavours of a generated file, with its services and their methods.
macro_rules! suites {
    ($($name:ident)::+, $services:tt) => {
        suite!(
            user::$($name)::+, asynchronous, ttrpc_runtime, [async], awaited, tokio::test,
            $services
        );
        suite!(
            user::$($name)::+::blocking, blocking, ttrpc_runtime::blocking, [], waited, test,
            $services
        );
    };
}

/// The constants of generated clients begin calls, all of which are under way at once.
macro_rules! begun {
    ($($name:ident)::+, {$(
        $service:literal $client:ident $server:ident {$($rpc:literal $constant:ident)+}
    )+}) => {
        #[test]
        fn every_constant_begins_a_call() {
            use user::$($name)::+::blocking as services;

            let server = ttrpc_runtime::blocking::Server::builder();
            $(let server = server.service(services::$server::new(crate::Nobody));)+
            let client = crate::blocking(server.build().unwrap());
            let ctx = ttrpc_runtime::Context::default();
            let mut calls: Vec<(&str, Box<dyn FnOnce() -> crate::Error>)> = Vec::new();
            $($(
                let call = client.start(&ctx, services::$client::$constant, Default::default());
                let expected = concat!($service, " does not implement ", $rpc);
                calls.push((expected, Box::new(|| crate::told(call.wait()))));
            )+)+
            for (expected, error) in calls {
                assert_eq!(error().into_status().message, expected);
            }
        }
    };
}

fn told<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("nobody implements that"),
        Err(error) => error,
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

/// Messages that are nested, spelt or named as few are, with something in them, both ways.
macro_rules! echo {
    (
        $name:ident, $services:path, $connect:ident, $runtime:path, [$($asynchronous:tt)?],
        $wait:ident, $test:meta, $inner:path, $leaf:path, $string:path, $option:path, $vec:path,
        $boxed:path
    ) => {
        mod $name {
            use $boxed as Boxed;
            use $inner as Inner;
            use $leaf as Leaf;
            use $option as Maybe;
            use $runtime as runtime;
            use $services as services;
            use $string as Text;
            use $vec as List;
            use services::Messages;
            use ttrpc_runtime::{Context, Result};

            struct Echo;

            /// A message that holds this.
            macro_rules! holding {
                ($message:ident, $value:expr) => {{
                    let mut message = $message::default();
                    message.value = $value;
                    message
                }};
            }

            #[allow(clippy::field_reassign_with_default)]
            impl Messages for Echo {
                $($asynchronous)? fn nested(&self, _: &Context, request: Inner) -> Result<Leaf> {
                    Ok(holding!(Leaf, request.value))
                }

                $($asynchronous)? fn prelude(
                    &self,
                    _: &Context,
                    request: List,
                ) -> Result<runtime::Streaming<Boxed>> {
                    let value = request.value;
                    let boxed = move |_| holding!(Boxed, value.clone());
                    Ok(runtime::Streaming::from_iter((0..2).map(boxed)))
                }

                $($asynchronous)? fn strings(
                    &self,
                    _: &Context,
                    mut requests: runtime::Streaming<Text>,
                ) -> Result<Maybe> {
                    let mut all = String::new();
                    while let Some(text) = $wait!(requests.message())? {
                        all += &text.value;
                    }
                    Ok(holding!(Maybe, all))
                }
            }

            #[$test]
            #[allow(clippy::field_reassign_with_default)]
            $($asynchronous)? fn values_come_back() {
                let server = runtime::Server::builder();
                let server = server.service(services::MessagesServer::new(Echo));
                let client = crate::$connect(server.build().unwrap());
                let client = services::MessagesClient::new(client);
                let ctx = Context::default();
                let value = || "value".to_owned();

                let leaf = $wait!(client.nested(&ctx, holding!(Inner, value()))).unwrap();
                assert_eq!(leaf.value, "value");

                let mut boxes = $wait!(client.prelude(&ctx, holding!(List, value()))).unwrap();
                for _ in 0..2 {
                    let boxed = $wait!(boxes.message()).unwrap().unwrap();
                    assert_eq!(boxed.value, "value");
                }
                assert!($wait!(boxes.message()).unwrap().is_none());

                let texts = ["val", "ue"].map(|part| holding!(Text, part.to_owned()));
                let texts = runtime::Streaming::from_iter(texts);
                let whole = $wait!(client.strings(&ctx, texts)).unwrap();
                assert_eq!(whole.value, "value");
            }
        }
    };
}

/// Both flavours, for messages of one crate.
macro_rules! echoes {
    ($name:ident, $($services:ident)::+, $($message:path),+) => {
        mod $name {
            echo!(
                echo_asynchronous, user::$($services)::+, asynchronous, ttrpc_runtime, [async],
                awaited, tokio::test, $($message),+
            );
            echo!(
                echo_blocking, user::$($services)::+::blocking, blocking, ttrpc_runtime::blocking,
                [], waited, test, $($message),+
            );
        }
    };
}

echoes!(
    echoed_by_protobuf,
    protos::messages_ttrpc,
    user::protos::messages::httpouter::Inner_msg,
    user::protos::messages::httpouter::type_::Leaf,
    user::protos::messages::String,
    user::protos::messages::Option,
    user::protos::messages::Vec,
    user::protos::messages::Box
);
echoes!(
    echoed_by_prost,
    by_prost::messages_ttrpc,
    user::by_prost::traps::r#type::v1::http_outer::InnerMsg,
    user::by_prost::traps::r#type::v1::http_outer::r#type::Leaf,
    user::by_prost::traps::r#type::v1::String,
    user::by_prost::traps::r#type::v1::Option,
    user::by_prost::traps::r#type::v1::Vec,
    user::by_prost::traps::r#type::v1::Box
);
