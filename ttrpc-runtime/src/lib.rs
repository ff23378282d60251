//! The runtime of ttrpc services: what the code that `protoc-gen-ttrpc` generates
//! stands on.
//!
//! ttrpc carries the services of .proto files over a 10-byte frame header on a Unix
//! socket, for processes that have no memory for HTTP/2. This implementation is, on the
//! wire, indistinguishable from `github.com/containerd/ttrpc`; what that is,
//! [PROTOCOL.md](https://github.com/protoc-gen-ttrpc/protoc-gen-ttrpc/blob/HEAD/ttrpc-runtime/PROTOCOL.md)
//! describes. The way from an empty crate to a call is in the
//! [README](https://github.com/protoc-gen-ttrpc/protoc-gen-ttrpc#five-minutes-to-a-call).
//!
//! # From a service to a call
//!
//! A service is one trait. A server implements it, and so does the client: see
//! [`Server`], [`Client`], and what a method gets and gives: [`Context`], [`Streaming`],
//! [`Status`], [`Error`].
//!
//! ```no_run
//! # mod greeter {
//! #     pub struct HelloRequest { pub name: String }
//! #     pub struct HelloReply { pub message: String }
//! #     pub trait Greeter: Send + Sync + 'static {
//! #         fn say_hello(&self, ctx: &ttrpc_runtime::Context, request: HelloRequest)
//! #             -> impl Future<Output = ttrpc_runtime::Result<HelloReply>> + Send;
//! #     }
//! # }
//! use greeter::{Greeter, HelloReply, HelloRequest};
//! use ttrpc_runtime::{Context, Result, Status};
//!
//! struct Hello;
//!
//! impl Greeter for Hello {
//!     async fn say_hello(&self, _: &Context, request: HelloRequest) -> Result<HelloReply> {
//!         if request.name.is_empty() {
//!             return Err(Status::invalid_argument("a greeting needs a name").into());
//!         }
//!         Ok(HelloReply { message: format!("Hello, {}!", request.name) })
//!     }
//! }
//! ```
//!
//! # What is where
//!
//! | to | there is |
//! |---|---|
//! | give a call a deadline | `Context::with_timeout`; for all calls, `ClientBuilder::timeout` |
//! | send and read metadata | `Context::metadata_mut` and `metadata`; `ClientBuilder::metadata` |
//! | give up a call | `Context::with_cancel`; of a future, dropping it |
//! | notice that one was given up | `Context::cancelled`, `is_cancelled` and `wait_cancelled` |
//! | fail with a code and details | `Status::not_found` and the like, `with_detail` |
//! | tell failures apart | `Error::code`, `status`, `is_timeout`, `is_closed` |
//! | end a server | `shutdown`, which waits for calls, and `close`, of any clone of the `Server` |
//! | know and choose who calls | `Context::peer`; `ServerBuilder::handshake` |
//! | listen on a socket that is there | `Listener::try_from` its descriptor |
//! | take a connection of one's own | `Client::new`, `Server::serve_connection` |
//! | connect again | `ClientBuilder::reconnect`; to notice, `on_close` |
//! | stand around every call | `Interceptor` |
//! | bound what a peer may take | `Limits`, `ServerBuilder::max_connections` |
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `tokio` | yes | the asynchronous flavour: everything at the crate root that does I/O |
//! | `blocking` | no | the flavour of threads: the module `blocking`; needs no asynchronous runtime |
//! | `protobuf` | no | `codec::Protobuf`, for messages of rust-protobuf |
//! | `prost` | no | `codec::Prost`, for messages of prost |
//! | `buffa` | no | `codec::Buffa`, for messages of buffa |
//!
//! # Layout
//!
//! ```text
//!  generated code
//!       |
//!  asynchronous: client, server, driver,           the flavours: who reads and writes
//!                socket, transport
//!  blocking: client, server, …
//!       |
//!  calls, serving, service, responder,             what both do, where all that waits
//!  interceptor, streaming, channel,                is a waker: of a task or a thread
//!  connection
//!       |
//!  proto: server, client, link, stream,            the protocol without I/O,
//!         decoder, output                          which speaks in
//!       |
//!  frame, envelope, wire, codec                    bytes
//! ```
//!
//! Beside them stand the words that all layers use: `addr`, `cancel`, `clock`,
//! `context`, `error`, `limits`, `metadata`, `peer`, `series`, `status`, `timers`; and `socket`,
//! with what std lacks.

// Where links lead without the flavour that has these names at the root.
#![cfg_attr(
    all(feature = "blocking", not(feature = "tokio")),
    doc = "\n\n[`Server`]: blocking::Server\n[`Client`]: blocking::Client\n[`Streaming`]: blocking::Streaming"
)]
#![cfg_attr(
    not(any(feature = "blocking", feature = "tokio")),
    doc = "\n\n[`Server`]: #features\n[`Client`]: #features\n[`Streaming`]: #features"
)]
// On docs.rs, what takes a feature says so.
#![cfg_attr(docsrs, feature(doc_cfg))]
// Without a flavour nobody uses what the flavours share.
#![cfg_attr(not(all(feature = "tokio", feature = "blocking")), allow(dead_code))]

mod addr;
#[cfg(feature = "tokio")]
mod asynchronous;
#[cfg(feature = "blocking")]
pub mod blocking;
mod cancel;
mod clock;
pub mod codec;
mod context;
pub mod envelope;
mod error;
pub mod frame;
mod limits;
mod metadata;
mod peer;
pub mod proto;
mod series;
mod status;
mod timers;
#[cfg(test)]
mod wakes;
mod wire;
// What has I/O of either flavour under it.
#[cfg(any(feature = "tokio", feature = "blocking"))]
mod calls;
#[cfg(any(feature = "tokio", feature = "blocking"))]
mod channel;
#[cfg(any(feature = "tokio", feature = "blocking"))]
mod connection;
#[cfg(any(feature = "tokio", feature = "blocking"))]
mod interceptor;
#[cfg(any(feature = "tokio", feature = "blocking"))]
mod responder;
#[cfg(any(feature = "tokio", feature = "blocking"))]
mod service;
#[cfg(any(feature = "tokio", feature = "blocking"))]
mod serving;
#[cfg(any(feature = "tokio", feature = "blocking"))]
mod socket;
#[cfg(any(feature = "tokio", feature = "blocking"))]
mod streaming;
#[cfg(any(feature = "tokio", feature = "blocking"))]
mod transport;

/// Whether what is dropped now is dropped by a panic. Where those end the program nothing
/// is, and what would be done about it is not in its binary.
#[cfg(any(feature = "tokio", feature = "blocking"))]
fn is_panicking() -> bool {
    cfg!(panic = "unwind") && std::thread::panicking()
}

pub use self::addr::Address;
#[cfg(feature = "tokio")]
pub use self::asynchronous::{Client, ClientBuilder, Server, ServerBuilder};
#[cfg(feature = "tokio")]
pub use self::channel::Sender;
pub use self::context::{CallContext, Canceller, Context};
pub use self::error::{Error, Result};
#[cfg(feature = "tokio")]
pub use self::interceptor::{Body, Interceptor, Invocation, Next};
pub use self::limits::Limits;
pub use self::metadata::Metadata;
pub use self::peer::Peer;
pub use self::proto::CallKind;
#[cfg(feature = "tokio")]
pub use self::service::{Call, Reply, Service, unimplemented};
pub use self::status::{Any, Code, Status};
#[cfg(feature = "tokio")]
pub use self::streaming::Streaming;
#[cfg(any(feature = "tokio", feature = "blocking"))]
pub use self::transport::Listener;
