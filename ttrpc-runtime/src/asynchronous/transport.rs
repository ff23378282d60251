//! Unix sockets for the asynchronous flavour: to listen on and to connect to.

use std::io;
use std::path::PathBuf;

use tokio::net::{UnixListener, UnixStream};

use super::socket::Socket;
use crate::addr::Address;
use crate::context::Peer;
use crate::error::{Error, Result};

/// A socket that clients connect to.
///
/// Dropping it closes the socket, and removes its file if it made one.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    /// The file to be removed in the end.
    file: Option<PathBuf>,
}

impl Listener {
    /// Listens at `unix:///path`, `unix://@abstract` or an [`Address`].
    ///
    /// The file of a socket that nobody listens on any more is replaced; it is what a
    /// server leaves behind that was killed.
    ///
    /// # Errors
    /// The address is none, it is in use, or the system does not permit it.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn bind<A>(address: A) -> Result<Self>
    where
        A: TryInto<Address>,
        A::Error: Into<Error>,
    {
        let address = address.try_into().map_err(Into::into)?;
        let path = address.socket_path();
        let socket = match UnixListener::bind(&path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(&address) => {
                std::fs::remove_file(&path).and_then(|()| UnixListener::bind(&path))
            }
            other => other,
        }
        .map_err(|error| explain(error, "listen at", &address))?;
        let file = matches!(address, Address::Path(_)).then_some(path);
        Ok(Self { socket, file })
    }

    pub(crate) async fn accept(&self) -> io::Result<(Socket, Option<Peer>)> {
        let (stream, _) = self.socket.accept().await?;
        // Without them the call is served all the same; its context then has no peer.
        let peer = stream
            .peer_cred()
            .ok()
            .map(|peer| Peer::new(peer.pid(), peer.uid(), peer.gid()));
        Ok((Socket::new(stream)?, peer))
    }
}

impl From<UnixListener> for Listener {
    /// Listens on a socket from elsewhere, for example from a service manager; its file
    /// is left alone.
    fn from(socket: UnixListener) -> Self {
        Self { socket, file: None }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // If somebody has removed it already, all the better.
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Whether the address is a socket's file that nobody listens on.
fn is_stale(address: &Address) -> bool {
    use std::os::unix::fs::FileTypeExt;

    let Address::Path(path) = address else {
        return false;
    };
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    is_socket && std::os::unix::net::UnixStream::connect(path).is_err_and(refused)
}

/// Connects to a server.
pub(crate) async fn connect(address: &Address) -> Result<Socket> {
    let connected = UnixStream::connect(address.socket_path()).await;
    connected
        .and_then(Socket::new)
        .map_err(|error| explain(error, "connect to", address))
}

fn explain(error: io::Error, what: &str, address: &Address) -> Error {
    io::Error::new(error.kind(), format!("can't {what} {address}: {error}")).into()
}
