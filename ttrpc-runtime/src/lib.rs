//! The runtime of ttrpc services: what the code that `protoc-gen-ttrpc` generates
//! stands on.
//!
//! ttrpc carries the services of .proto files over a 10-byte frame header on a Unix
//! socket, for processes that have no memory for HTTP/2. This implementation is, on the
//! wire, indistinguishable from `github.com/containerd/ttrpc`.
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
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `tokio` | yes | the asynchronous flavour: everything at the crate root that does I/O |
//! | `protobuf` | no | `codec::Protobuf`, for messages of rust-protobuf |
//!
//! # Layout
//!
//! ```text
//!  generated code
//!       |
//!  client, server, service, responder,             the asynchronous flavour:
//!  interceptor, streaming, channel,                a thin driver of
//!  connection, socket, transport
//!       |
//!  proto: server, client, link, stream,            the protocol without I/O,
//!         decoder, output                          which speaks in
//!       |
//!  frame, envelope, wire, codec                    bytes
//! ```
//!
//! Beside them stand the words that all layers use: `addr`, `cancel`, `clock`,
//! `context`, `error`, `limits`, `metadata`, `status`.

// Without a flavour nobody uses what the flavours share.
#![cfg_attr(not(feature = "tokio"), allow(dead_code))]

mod addr;
mod cancel;
#[cfg(feature = "tokio")]
mod channel;
#[cfg(feature = "tokio")]
mod client;
mod clock;
pub mod codec;
#[cfg(feature = "tokio")]
mod connection;
mod context;
pub mod envelope;
mod error;
pub mod frame;
#[cfg(feature = "tokio")]
mod interceptor;
mod limits;
mod metadata;
pub mod proto;
#[cfg(feature = "tokio")]
mod responder;
#[cfg(feature = "tokio")]
mod server;
#[cfg(feature = "tokio")]
mod service;
#[cfg(feature = "tokio")]
mod socket;
mod status;
#[cfg(feature = "tokio")]
mod streaming;
#[cfg(feature = "tokio")]
mod transport;
mod wire;

pub use self::addr::Address;
#[cfg(feature = "tokio")]
pub use self::channel::Sender;
#[cfg(feature = "tokio")]
pub use self::client::{Client, ClientBuilder};
pub use self::context::{CallContext, Canceller, Context, Peer};
pub use self::error::{Error, Result};
#[cfg(feature = "tokio")]
pub use self::interceptor::{Body, Interceptor, Invocation, Next};
pub use self::limits::Limits;
pub use self::metadata::Metadata;
pub use self::proto::CallKind;
#[cfg(feature = "tokio")]
pub use self::server::{Server, ServerBuilder};
#[cfg(feature = "tokio")]
pub use self::service::{Call, Reply, Service, unimplemented};
pub use self::status::{Any, Code, Status};
#[cfg(feature = "tokio")]
pub use self::streaming::Streaming;
#[cfg(feature = "tokio")]
pub use self::transport::Listener;
