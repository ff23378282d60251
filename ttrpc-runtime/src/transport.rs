//! Unix sockets: to listen on and to connect to.

use std::io;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::PathBuf;

use crate::addr::Address;
use crate::error::{Error, Result};

/// A socket that clients connect to; for a server of either flavour.
///
/// Dropping it closes the socket, and removes its file if it made one.
#[derive(Debug)]
pub struct Listener {
    pub(crate) socket: UnixListener,
    /// Of a socket that was made here.
    pub(crate) file: Option<File>,
}

/// A socket's file, which is removed in the end.
#[derive(Debug)]
pub(crate) struct File(PathBuf);

impl Listener {
    /// Listens at `unix:///path`, `unix://@abstract` or an [`Address`].
    ///
    /// The file of a socket that nobody listens on any more is replaced; it is what a
    /// server leaves behind that was killed.
    ///
    /// # Errors
    /// The address is none, it is in use, or the system does not permit it.
    pub fn bind<A>(address: A) -> Result<Self>
    where
        A: TryInto<Address>,
        A::Error: Into<Error>,
    {
        let address = address.try_into().map_err(Into::into)?;
        let bind = || UnixListener::bind_addr(&socket_addr(&address)?);
        let socket = match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => match stale_file(&address) {
                Some(file) => std::fs::remove_file(file).and_then(|()| bind()),
                None => Err(error),
            },
            other => other,
        }
        .and_then(Self::non_blocking)
        .map_err(|error| explain(error, "listen at", &address))?;
        let file = match address {
            Address::Path(path) => Some(File(path)),
            Address::Abstract(_) => None,
        };
        Ok(Self { socket, file })
    }

    fn non_blocking(socket: UnixListener) -> io::Result<UnixListener> {
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}

impl TryFrom<UnixListener> for Listener {
    type Error = Error;

    /// Listens on a socket from elsewhere, for example from a service manager; its file
    /// is left alone.
    fn try_from(socket: UnixListener) -> Result<Self> {
        let socket = Self::non_blocking(socket)?;
        Ok(Self { socket, file: None })
    }
}

#[cfg(feature = "tokio")]
impl TryFrom<tokio::net::UnixListener> for Listener {
    type Error = Error;

    /// Listens on a socket from elsewhere; its file is left alone.
    fn try_from(socket: tokio::net::UnixListener) -> Result<Self> {
        let socket = socket.into_std()?;
        Ok(Self { socket, file: None })
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // If somebody has removed it already, all the better.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The file of the address, if it is a socket's that nobody listens on.
fn stale_file(address: &Address) -> Option<&PathBuf> {
    use std::os::unix::fs::FileTypeExt;

    let Address::Path(path) = address else {
        return None;
    };
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    (is_socket && UnixStream::connect(path).is_err_and(refused)).then_some(path)
}

/// The address as the system takes it.
pub(crate) fn socket_addr(address: &Address) -> io::Result<SocketAddr> {
    match address {
        Address::Path(path) => SocketAddr::from_pathname(path),
        #[cfg(target_os = "linux")]
        Address::Abstract(name) => {
            use std::os::linux::net::SocketAddrExt;
            SocketAddr::from_abstract_name(name)
        }
        #[cfg(not(target_os = "linux"))]
        Address::Abstract(_) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "only Linux has abstract addresses",
        )),
    }
}

pub(crate) fn explain(error: io::Error, what: &str, address: &Address) -> Error {
    io::Error::new(error.kind(), format!("can't {what} {address}: {error}")).into()
}
