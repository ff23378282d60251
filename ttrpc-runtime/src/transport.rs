//! Sockets: to listen on and to connect to.

use std::io;
use std::mem::offset_of;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{SockAddr, Socket, Type};

use crate::addr::Address;
use crate::error::{Error, Result};

/// A socket that clients connect to; for a server of either flavour.
///
/// Dropping it removes its file if it made one, and closes the socket.
#[derive(Debug)]
pub struct Listener {
    /// Of a socket that was made here. It goes before that: once nobody listens another server
    /// may put its own in its place.
    pub(crate) file: Option<File>,
    pub(crate) socket: Socket,
}

/// A socket's file, which is removed in the end.
#[derive(Debug)]
pub(crate) struct File {
    path: PathBuf,
    /// What tells it from one that another server has put there instead.
    id: Option<FileId>,
}

/// The device of a file and its number there, which is no other's as long as its socket is open.
type FileId = (u64, u64);

fn file_id(path: &Path) -> Option<FileId> {
    let file = std::fs::symlink_metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

impl Listener {
    /// Listens at `unix:///path`, `unix://@abstract`, `vsock://-1:port` or an [`Address`].
    ///
    /// The file of a socket that nobody listens on any more is replaced; it is what a
    /// server leaves behind that was killed. Two servers that replace one at the same instant may
    /// both succeed, and then one of them is not reached: let whatever starts them see to it that
    /// there is one for each path.
    ///
    /// # Errors
    /// The address is none, it is in use, or the system does not permit it.
    pub fn bind<A>(address: A) -> Result<Self>
    where
        A: TryInto<Address>,
        A::Error: Into<Error>,
    {
        let address = address.try_into().map_err(Into::into)?;
        let socket = match listen(&address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                make_room(&address, error).and_then(|()| listen(&address))
            }
            other => other,
        }
        .and_then(Self::non_blocking)
        .map_err(|error| explain(error, "listen at", &address))?;
        let file = match address {
            Address::Path(path) => Some(File {
                id: file_id(&path),
                path,
            }),
            _ => None,
        };
        Ok(Self { socket, file })
    }

    fn non_blocking(socket: Socket) -> io::Result<Socket> {
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}

impl TryFrom<OwnedFd> for Listener {
    type Error = Error;

    /// Listens on a socket of any kind from elsewhere, for example from a service manager; its
    /// file, if it has one, is left alone.
    fn try_from(socket: OwnedFd) -> Result<Self> {
        let socket = Self::non_blocking(socket.into())?;
        Ok(Self { socket, file: None })
    }
}

impl TryFrom<UnixListener> for Listener {
    type Error = Error;

    /// Listens on a socket from elsewhere; its file is left alone.
    fn try_from(socket: UnixListener) -> Result<Self> {
        OwnedFd::from(socket).try_into()
    }
}

#[cfg(feature = "tokio")]
impl TryFrom<tokio::net::UnixListener> for Listener {
    type Error = Error;

    /// Listens on a socket from elsewhere; its file is left alone.
    fn try_from(socket: tokio::net::UnixListener) -> Result<Self> {
        socket.into_std()?.try_into()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if file_id(&self.path) == self.id {
            // If somebody has removed it already, all the better.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Removes what is at an address that is `in_use`, if it is the file of a socket that nobody listens
/// on.
fn make_room(address: &Address, in_use: io::Error) -> io::Result<()> {
    let Address::Path(path) = address else {
        return Err(in_use);
    };
    if std::fs::symlink_metadata(path).is_ok_and(|file| !file.file_type().is_socket()) {
        let told = "there is a file that is no socket; remove it, or listen elsewhere";
        return Err(io::Error::new(in_use.kind(), told));
    }
    let connect = || {
        let (socket, at) = socket_for(address)?;
        // A server that has no room for one more is one.
        socket.set_nonblocking(true)?;
        socket.connect(&at)
    };
    match connect() {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        _ => Err(in_use),
    }
}

fn listen(address: &Address) -> io::Result<Socket> {
    let (socket, at) = socket_for(address)?;
    socket.bind(&at)?;
    socket.listen(libc::SOMAXCONN)?;
    Ok(socket)
}

/// A socket for an address, and that as the system takes it.
pub(crate) fn socket_for(address: &Address) -> io::Result<(Socket, SockAddr)> {
    let at = match address {
        Address::Path(path) if path.as_os_str().as_encoded_bytes().contains(&0) => Err(
            io::Error::new(io::ErrorKind::InvalidInput, "a path has no zero bytes"),
        ),
        Address::Path(path) => unix(path, "path", path.as_os_str().len()),
        // The system's names of that kind begin with a zero byte.
        #[cfg(target_os = "linux")]
        Address::Abstract(name) => unix(Path::new(&format!("\0{name}")), "name", name.len()),
        #[cfg(target_os = "linux")]
        Address::Vsock { cid, port } => Ok(SockAddr::vsock(*cid, *port)),
        #[cfg(not(target_os = "linux"))]
        Address::Abstract(_) | Address::Vsock { .. } => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "only Linux has such addresses",
        )),
    }?;
    Ok((Socket::new(at.domain(), Type::STREAM, None)?, at))
}

/// The address of a Unix socket, whose path or name has this length.
fn unix(path: &Path, what: &str, len: usize) -> io::Result<SockAddr> {
    // There is a zero byte behind a path, and in front of a name.
    let most = size_of::<libc::sockaddr_un>() - offset_of!(libc::sockaddr_un, sun_path) - 1;
    if len > most {
        let told = format!("a {what} of {len} bytes, and that of a socket has {most} at most");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, told));
    }
    SockAddr::unix(path)
}

pub(crate) fn explain(error: io::Error, what: &str, address: &Address) -> Error {
    io::Error::new(error.kind(), format!("can't {what} {address}: {error}")).into()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A listener whose queue is soon full, and what fills that.
    pub(crate) struct Full {
        pub(crate) address: Address,
        pub(crate) listener: Socket,
        pub(crate) queue: Vec<Socket>,
    }

    impl Full {
        pub(crate) fn listen(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("ttrpc-{name}-{}.sock", std::process::id()));
            let address = Address::from(&path);
            let (listener, at) = socket_for(&address).unwrap();
            listener.bind(&at).unwrap();
            listener.listen(1).unwrap();
            Self {
                address,
                listener,
                queue: Vec::new(),
            }
        }

        pub(crate) fn fill(&mut self) {
            let connect = || {
                let (socket, at) = socket_for(&self.address).unwrap();
                socket.set_nonblocking(true).unwrap();
                socket.connect(&at).ok().map(|()| socket)
            };
            self.queue = std::iter::from_fn(connect).collect();
        }
    }

    impl Drop for Full {
        fn drop(&mut self) {
            if let Address::Path(path) = &self.address {
                std::fs::remove_file(path).unwrap();
            }
        }
    }

    /// Whoever asks whether somebody listens does not wait until he is listened to.
    #[test]
    fn an_address_is_in_use_however_busy_its_server_is() {
        let mut full = Full::listen("busy");
        full.fill();
        let address = full.address.clone();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || tell.send(Listener::bind(address)));
        let bound = told.recv_timeout(std::time::Duration::from_secs(20));
        let error = bound.expect("it waits for ever").unwrap_err().to_string();
        assert!(error.contains("in use"), "{error}");
    }

    /// It may have been removed, and another server have put its own there.
    #[test]
    fn a_listener_removes_its_own_file_alone() {
        let path = std::env::temp_dir().join(format!("ttrpc-own-{}.sock", std::process::id()));
        let first = Listener::bind(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let second = Listener::bind(&path).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }
}
