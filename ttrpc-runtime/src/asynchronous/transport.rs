//! How the asynchronous flavour connects and is connected to.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::{SockAddr, SockRef};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::socket::Socket;
use crate::addr::Address;
use crate::error::Result;
use crate::peer::Peer;
use crate::socket::{peer, register};
use crate::transport::{explain, socket_for};

/// Waits for connections from now on.
pub(super) fn listen(listener: socket2::Socket) -> io::Result<AsyncFd<OwnedFd>> {
    register(listener.into(), Interest::READABLE)
}

/// Accepts a connection.
pub(super) fn poll_accept(
    listener: &AsyncFd<OwnedFd>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(Socket, Option<Peer>)>> {
    let (stream, _) = loop {
        let mut ready = ready!(listener.poll_read_ready(cx))?;
        // Where it would block, it is not ready any more.
        if let Ok(accepted) = ready.try_io(|listener| SockRef::from(listener).accept()) {
            break accepted?;
        }
    };
    // Without it the call is served all the same; its context then has no peer.
    let peer = peer(&stream);
    Poll::Ready(Ok((Socket::new(stream.into())?, peer)))
}

/// Connects to a server: gives the socket that a task drives, and the same one for those who
/// write themselves.
pub(super) async fn connect(address: &Address) -> Result<(Socket<Arc<OwnedFd>>, Arc<OwnedFd>)> {
    let connect = async {
        let (socket, at) = socket_for(address)?;
        let stream = Arc::new(connect_to(socket, &at).await?);
        Ok((Socket::new(Arc::clone(&stream))?, stream))
    };
    let connected: io::Result<_> = connect.await;
    connected.map_err(|error| explain(error, "connect to", address))
}

/// Connects a socket: a Unix one at once, others in a while.
async fn connect_to(socket: socket2::Socket, at: &SockAddr) -> io::Result<OwnedFd> {
    socket.set_nonblocking(true)?;
    let outcome = socket.connect(at);
    let stream = OwnedFd::from(socket);
    match outcome {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        outcome => return outcome.map(|()| stream),
    }
    let connecting = register(stream, Interest::WRITABLE)?;
    drop(connecting.writable().await?);
    let stream = connecting.into_inner();
    match SockRef::from(&stream).take_error()? {
        None => Ok(stream),
        Some(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use socket2::{Domain, Type};

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn what_takes_a_while_to_connect_is_waited_for() {
        let connect = async |at: &SockAddr| {
            let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            connect_to(socket, at).await
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = SockAddr::from(listener.local_addr().unwrap());
        let stream = connect(&at).await.unwrap();
        assert!(SockRef::from(&stream).peer_addr().is_ok());
        drop((stream, listener));
        let error = connect(&at).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
