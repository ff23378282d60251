//! How the asynchronous flavour connects and is connected to.

use std::io;

use tokio::net::{UnixListener, UnixStream};

use super::socket::Socket;
use crate::addr::Address;
use crate::context::Peer;
use crate::error::Result;
use crate::socket::peer;
use crate::transport::explain;

/// Accepts a connection.
pub(super) async fn accept(listener: &UnixListener) -> io::Result<(Socket, Option<Peer>)> {
    let (stream, _) = listener.accept().await?;
    // Without it the call is served all the same; its context then has no peer.
    let peer = peer(&stream);
    Ok((Socket::new(stream)?, peer))
}

/// Connects to a server.
pub(super) async fn connect(address: &Address) -> Result<Socket> {
    let connected = UnixStream::connect(address.socket_path()).await;
    connected
        .and_then(Socket::new)
        .map_err(|error| explain(error, "connect to", address))
}
