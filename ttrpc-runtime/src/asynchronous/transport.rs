//! How the asynchronous flavour connects and is connected to.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;

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
    Ok((Socket::new(stream.into_std()?)?, peer))
}

/// Connects to a server: gives the socket that a task drives, and the same one for those who
/// write themselves.
pub(super) async fn connect(
    address: &Address,
) -> Result<(Socket<Arc<StdUnixStream>>, Arc<StdUnixStream>)> {
    let connected = UnixStream::connect(address.socket_path()).await;
    let share = |stream: UnixStream| {
        let stream = Arc::new(stream.into_std()?);
        Ok((Socket::new(Arc::clone(&stream))?, stream))
    };
    connected
        .and_then(share)
        .map_err(|error| explain(error, "connect to", address))
}
