//! A client under test: ours of either flavour, or a puppet. To a case it is a service
//! like any other.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use ttrpc_runtime::{Client, Context, Result, Streaming, blocking, codec};

use crate::bridge::Bridge;
use crate::messages::{BytesValue, Empty, Int64Value, StringValue};
use crate::outcome::Outcome;
use crate::peers::{Flavour, Peer};
use crate::protos::interop_ttrpc::blocking::{self as generated, Absent as _, Interop as _};
use crate::protos::interop_ttrpc::{Absent, AbsentClient, Interop, InteropClient};
use crate::puppet::Puppet;

/// The full name of the service.
pub const SERVICE: &str = "interop.v1.Interop";

/// A client with a connection of its own; a clone shares that.
#[derive(Clone)]
pub enum Caller {
    Ours(Ours<Client, InteropClient, AbsentClient>),
    Blocking(
        Ours<
            Bridge<blocking::Client>,
            Bridge<generated::InteropClient>,
            Bridge<generated::AbsentClient>,
        >,
    ),
    Puppet(Puppet),
}

/// A client of one of our flavours.
#[derive(Clone)]
pub struct Ours<C, I, A> {
    client: C,
    interop: I,
    absent: A,
    /// The connection's socket, where it is to be cut.
    socket: Option<Arc<UnixStream>>,
}

impl Caller {
    fn ours(client: Client, socket: Option<UnixStream>) -> Self {
        Self::Ours(Ours {
            interop: InteropClient::new(client.clone()),
            absent: AbsentClient::new(client.clone()),
            client,
            socket: socket.map(Arc::new),
        })
    }

    fn blocking(client: blocking::Client, socket: Option<UnixStream>) -> Self {
        Self::Blocking(Ours {
            interop: Bridge(generated::InteropClient::new(client.clone())),
            absent: Bridge(generated::AbsentClient::new(client.clone())),
            client: Bridge(client),
            socket: socket.map(Arc::new),
        })
    }

    /// Connects a client of the given implementation to a server.
    pub async fn connect(peer: &Peer, socket: &Path) -> Outcome<Self> {
        let address = format!("unix://{}", socket.display());
        Ok(match peer.flavour {
            Some(Flavour::Async) => Self::ours(Client::connect(&address).await?, None),
            Some(Flavour::Blocking) => Self::blocking(blocking::Client::connect(&address)?, None),
            None => Self::Puppet(Puppet::start(&peer.program, socket).await?),
        })
    }

    /// As [`connect`](Self::connect), for a connection that can be [`cut`](Self::cut).
    pub async fn connect_to_cut(peer: &Peer, socket: &Path) -> Outcome<Self> {
        let Some(flavour) = peer.flavour else {
            return Self::connect(peer, socket).await;
        };
        let handle = UnixStream::connect(socket)?;
        let stream = handle.try_clone()?;
        Ok(match flavour {
            Flavour::Async => {
                stream.set_nonblocking(true)?;
                let stream = tokio::net::UnixStream::from_std(stream)?;
                Self::ours(Client::new(stream), Some(handle))
            }
            Flavour::Blocking => Self::blocking(blocking::Client::new(stream)?, Some(handle)),
        })
    }

    /// Drops the connection at once, whatever goes on.
    pub async fn cut(&self) -> Outcome<()> {
        match self {
            Self::Ours(Ours { socket, .. }) | Self::Blocking(Ours { socket, .. }) => {
                if let Some(socket) = socket {
                    socket.shutdown(Shutdown::Both)?;
                }
            }
            Self::Puppet(puppet) => puppet.kill().await,
        }
        Ok(())
    }

    /// Calls a method by a name that is not in the .proto.
    pub async fn call_by_name(&self, ctx: &Context, method: &str) -> Result<Empty> {
        let request = Empty::new();
        match self {
            Self::Ours(ours) => {
                let call = ours
                    .client
                    .unary(codec::Protobuf, ctx, SERVICE, method, request);
                call.await
            }
            Self::Blocking(ours) => {
                let method = method.to_owned();
                let call = ours
                    .client
                    .unary(ctx, request, move |client, ctx, request| {
                        client.unary(codec::Protobuf, ctx, SERVICE, &method, request)
                    });
                call.await
            }
            Self::Puppet(puppet) => puppet.unary(ctx, SERVICE, method, request).await,
        }
    }
}

/// Implements the methods of a service by handing them on.
macro_rules! hand_on {
    ($client:ident, $service:expr;
     $($kind:ident $method:ident $name:literal ($request:ty) -> $reply:ty;)*) => {
        $(async fn $method(&self, ctx: &Context, request: $request) -> Result<$reply> {
            match self {
                Self::Ours(ours) => ours.$client.$method(ctx, request).await,
                Self::Blocking(ours) => {
                    let call = ours.$client.$kind(ctx, request, |client, ctx, request| {
                        client.$method(ctx, request)
                    });
                    call.await
                }
                Self::Puppet(puppet) => puppet.$kind(ctx, $service, $name, request).await,
            }
        })*
    };
}

impl Interop for Caller {
    hand_on! { interop, SERVICE;
        unary echo "Echo" (BytesValue) -> BytesValue;
        unary fill "Fill" (Int64Value) -> BytesValue;
        unary fail "Fail" (Empty) -> Empty;
        unary metadata "Metadata" (StringValue) -> StringValue;
        unary time_left "TimeLeft" (Empty) -> Int64Value;
        unary hold "Hold" (StringValue) -> StringValue;
        unary snake_case "snake_case" (StringValue) -> StringValue;
        unary unwritten "Unwritten" (Empty) -> Empty;
        client sum "Sum" (Streaming<BytesValue>) -> Int64Value;
        client count "Count" (Streaming<Empty>) -> Int64Value;
        client first "First" (Streaming<BytesValue>) -> BytesValue;
        server parts "Parts" (StringValue) -> Streaming<BytesValue>;
        server numbers "Numbers" (Int64Value) -> Streaming<Int64Value>;
        server nothing "Nothing" (Empty) -> Streaming<Empty>;
        server fail_late "FailLate" (Int64Value) -> Streaming<Int64Value>;
        server stream_metadata "StreamMetadata" (StringValue) -> Streaming<StringValue>;
        server stream_time_left "StreamTimeLeft" (StringValue) -> Streaming<Int64Value>;
        server hold_open "HoldOpen" (StringValue) -> Streaming<StringValue>;
        // As Go's generator writes it: camel case on streams, but not above.
        server snake_case_stream "SnakeCaseStream" (StringValue) -> Streaming<StringValue>;
        bidi chat "Chat" (Streaming<BytesValue>) -> Streaming<BytesValue>;
        bidi chat_once "ChatOnce" (Streaming<BytesValue>) -> Streaming<BytesValue>;
        bidi chat_hold "ChatHold" (Streaming<BytesValue>) -> Streaming<BytesValue>;
        bidi unwritten_chat "UnwrittenChat" (Streaming<Empty>) -> Streaming<Empty>;
    }
}

impl Absent for Caller {
    hand_on! { absent, "interop.v1.Absent";
        unary call "Call" (Empty) -> Empty;
    }
}
