//! A client under test: ours, or a puppet. To a case it is a service like any other.

use std::net::Shutdown;
use std::path::Path;
use std::sync::Arc;

use ttrpc_runtime::{Client, Context, Result, Streaming, codec};

use crate::messages::{BytesValue, Empty, Int64Value, StringValue};
use crate::outcome::Outcome;
use crate::peers::Peer;
use crate::protos::interop_ttrpc::{Absent, AbsentClient, Interop, InteropClient};
use crate::puppet::Puppet;

/// The full name of the service.
pub const SERVICE: &str = "interop.v1.Interop";

/// A client with a connection of its own; a clone shares that.
#[derive(Clone)]
pub enum Caller {
    Ours(Ours),
    Puppet(Puppet),
}

#[derive(Clone)]
pub struct Ours {
    client: Client,
    interop: InteropClient,
    absent: AbsentClient,
    /// The connection's socket, where it is to be cut.
    socket: Option<Arc<std::os::unix::net::UnixStream>>,
}

impl Ours {
    fn new(client: Client) -> Self {
        Self {
            interop: InteropClient::new(client.clone()),
            absent: AbsentClient::new(client.clone()),
            client,
            socket: None,
        }
    }
}

impl Caller {
    /// Connects a client of the given implementation to a server.
    pub async fn connect(peer: &Peer, socket: &Path) -> Outcome<Self> {
        if peer.kind.is_ours() {
            let address = format!("unix://{}", socket.display());
            return Ok(Self::Ours(Ours::new(Client::connect(&address).await?)));
        }
        Ok(Self::Puppet(Puppet::start(&peer.program, socket).await?))
    }

    /// As [`connect`](Self::connect), for a connection that can be [`cut`](Self::cut).
    pub async fn connect_to_cut(peer: &Peer, socket: &Path) -> Outcome<Self> {
        if !peer.kind.is_ours() {
            return Self::connect(peer, socket).await;
        }
        let stream = std::os::unix::net::UnixStream::connect(socket)?;
        let handle = stream.try_clone()?;
        stream.set_nonblocking(true)?;
        let client = Client::new(tokio::net::UnixStream::from_std(stream)?);
        Ok(Self::Ours(Ours {
            socket: Some(Arc::new(handle)),
            ..Ours::new(client)
        }))
    }

    /// Drops the connection at once, whatever goes on.
    pub async fn cut(&self) -> Outcome<()> {
        match self {
            Self::Ours(ours) => {
                if let Some(socket) = &ours.socket {
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
