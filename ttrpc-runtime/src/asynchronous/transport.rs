//! How the asynchronous flavour connects and is connected to.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::Duration;

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
    cx: &mut task::Context<'_>,
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

/// How long to wait until a server may have room for one more that waits to be accepted, at first
/// and at most. The system does not tell of it.
const ROOM: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// Connects a socket: a Unix one as soon as its server has room, others in a while.
async fn connect_to(socket: socket2::Socket, at: &SockAddr) -> io::Result<OwnedFd> {
    socket.set_nonblocking(true)?;
    let mut pause = ROOM.0;
    loop {
        match socket.connect(at) {
            Ok(()) => return Ok(socket.into()),
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(pause).await;
                pause = ROOM.1.min(2 * pause);
            }
            Err(error) => return Err(error),
        }
    }
    let connecting = register(OwnedFd::from(socket), Interest::WRITABLE)?;
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
    use std::pin::pin;

    use bytes::Bytes;
    use socket2::{Domain, Type};

    use super::*;
    use crate::codec::Raw;
    use crate::transport::tests::Full;
    use crate::{Client, Context};

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

    #[tokio::test(flavor = "current_thread")]
    async fn a_server_without_room_for_one_more_is_waited_for() {
        let mut full = Full::listen("room");
        full.fill();
        let mut connecting = pin!(connect(&full.address));
        let while_full = tokio::time::timeout(Duration::from_millis(20), connecting.as_mut());
        assert!(while_full.await.is_err());
        for _ in &full.queue {
            full.listener.accept().unwrap();
        }
        let connected = tokio::time::timeout(Duration::from_secs(20), connecting).await;
        connected.expect("it waits for ever").unwrap();
    }

    /// It waits for nothing of the call yet.
    #[tokio::test(flavor = "current_thread")]
    async fn a_call_that_connects_again_is_cancelled() {
        let mut full = Full::listen("again");
        let builder = Client::builder().reconnect(true);
        let client = builder.connect(full.address.clone()).await.unwrap();
        drop(full.listener.accept().unwrap());
        client.closed().await;
        full.fill();
        let (ctx, canceller) = Context::new().with_cancel();
        let call = client.unary(Raw, &ctx, "a.B", "C", Bytes::new());
        let mut call = pin!(tokio::time::timeout(Duration::from_secs(20), call));
        let while_full = tokio::time::timeout(Duration::from_millis(20), call.as_mut());
        assert!(while_full.await.is_err());
        canceller.cancel();
        let outcome: Result<Bytes> = call.await.expect("it waits for ever");
        assert!(outcome.unwrap_err().is_cancelled());
    }
}
