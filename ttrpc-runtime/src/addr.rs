//! `Address`: where a server listens.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::Error;

/// Where a server listens.
///
/// ```
/// use ttrpc_runtime::Address;
///
/// let address: Address = "unix:///run/greeter.sock".parse()?;
/// assert_eq!(address, Address::Path("/run/greeter.sock".into()));
/// # Ok::<(), ttrpc_runtime::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Address {
    /// A Unix socket in the file system: `unix:///run/greeter.sock`, or just the path.
    Path(PathBuf),
    /// A Unix socket in Linux's abstract namespace: `unix://@greeter`, or `@greeter`.
    Abstract(String),
    /// A port of a virtual machine or of its host, by Linux's vsock: `vsock://3:1024`.
    Vsock {
        /// The machine: its context id. To listen, `u32::MAX` is any of this machine's:
        /// `vsock://-1:1024`.
        cid: u32,
        /// The port.
        port: u32,
    },
}

/// The context id and the port of `3:1024`.
fn vsock(text: &str) -> Option<Address> {
    let (cid, port) = text.split_once(':')?;
    let cid = match cid {
        "-1" => u32::MAX,
        cid => cid.parse().ok()?,
    };
    let port = port.parse().ok()?;
    Some(Address::Vsock { cid, port })
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Some(address) = text.strip_prefix("vsock://").and_then(vsock) {
            return Ok(address);
        }
        let (has_scheme, rest) = match text.strip_prefix("unix://") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        match rest.strip_prefix('@') {
            Some(name) if !name.is_empty() => Ok(Self::Abstract(name.into())),
            None if matches!(rest.as_bytes(), [b'/' | b'.', ..])
                || (has_scheme && !rest.is_empty()) =>
            {
                Ok(Self::Path(rest.into()))
            }
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "{text:?} is no address: expected unix:///path/of.sock, unix://@abstract-name, \
                     vsock://context-id:port, or a path that begins with / or ."
                ),
            )
            .into()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "unix://{}", path.display()),
            Self::Abstract(name) => write!(f, "unix://@{name}"),
            Self::Vsock { cid, port } if *cid == u32::MAX => write!(f, "vsock://-1:{port}"),
            Self::Vsock { cid, port } => write!(f, "vsock://{cid}:{port}"),
        }
    }
}

impl TryFrom<&str> for Address {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self, Error> {
        text.parse()
    }
}

impl TryFrom<&String> for Address {
    type Error = Error;

    fn try_from(text: &String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<&Path> for Address {
    fn from(path: &Path) -> Self {
        Self::Path(path.into())
    }
}

impl From<&PathBuf> for Address {
    fn from(path: &PathBuf) -> Self {
        Self::Path(path.into())
    }
}

/// So that an [`Address`] serves where text that may be none does.
impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_what_is_none() {
        for (text, shown) in [
            ("unix:///run/a.sock", "unix:///run/a.sock"),
            ("/run/a.sock", "unix:///run/a.sock"),
            ("./a.sock", "unix://./a.sock"),
            ("unix://a.sock", "unix://a.sock"),
            ("@a", "unix://@a"),
            ("unix://@a", "unix://@a"),
            ("vsock://2:1024", "vsock://2:1024"),
            ("vsock://-1:0", "vsock://-1:0"),
            ("vsock://4294967295:4294967295", "vsock://-1:4294967295"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
        }
        let none = ["", "@", "unix://", "unix://@", "a.sock", "tcp://1.2.3.4:5"];
        let no_vsock = [
            "1",
            "1:",
            ":1",
            "-2:1",
            "1:-1",
            "1:2:3",
            "4294967296:1",
            "@a",
        ];
        let no_vsock = no_vsock.map(|rest| format!("vsock://{rest}"));
        for text in none.into_iter().chain(no_vsock.iter().map(String::as_str)) {
            let error = text.parse::<Address>().unwrap_err();
            assert!(
                error.to_string().contains("expected unix:///path"),
                "{error}"
            );
        }
    }
}
