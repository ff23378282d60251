//! `Peer`: who is at the other end of a connection.

use crate::error::Result;
use crate::status::Status;

/// Who is at the other end of a server's connection, as the kernel knows it: of a Unix socket
/// the process that connected, at the time when it did; of vsock the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer(pub(crate) Who);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), allow(dead_code))]
pub(crate) enum Who {
    Process {
        pid: Option<i32>,
        uid: u32,
        gid: u32,
    },
    Machine {
        cid: u32,
    },
}

impl Peer {
    /// The process id, where the platform tells it.
    pub fn pid(&self) -> Option<i32> {
        match self.0 {
            Who::Process { pid, .. } => pid,
            Who::Machine { .. } => None,
        }
    }

    /// The effective user id, of a process.
    pub fn uid(&self) -> Option<u32> {
        match self.0 {
            Who::Process { uid, .. } => Some(uid),
            Who::Machine { .. } => None,
        }
    }

    /// The effective group id, of a process.
    pub fn gid(&self) -> Option<u32> {
        match self.0 {
            Who::Process { gid, .. } => Some(gid),
            Who::Machine { .. } => None,
        }
    }

    /// The context id, of a machine: 2 is the host's, 1 that of the machine itself.
    pub fn cid(&self) -> Option<u32> {
        match self.0 {
            Who::Process { .. } => None,
            Who::Machine { cid } => Some(cid),
        }
    }

    /// Checks that the peer runs as this user; for handshakes of servers.
    ///
    /// # Errors
    /// PERMISSION_DENIED: it runs as another one, or is a machine.
    pub fn require_uid(&self, uid: u32) -> Result<()> {
        self.require("user", self.uid(), uid)
    }

    /// Checks that the peer runs as this group.
    ///
    /// # Errors
    /// PERMISSION_DENIED: it runs as another one, or is a machine.
    pub fn require_gid(&self, gid: u32) -> Result<()> {
        self.require("group", self.gid(), gid)
    }

    /// Checks that the peer is this machine: a guest's agent may want its host alone, which
    /// has 2, and no process of the guest.
    ///
    /// # Errors
    /// PERMISSION_DENIED: it is another one, or a process on a Unix socket.
    pub fn require_cid(&self, cid: u32) -> Result<()> {
        self.require("context id", self.cid(), cid)
    }

    /// Checks that the peer runs as root.
    ///
    /// # Errors
    /// PERMISSION_DENIED: it does not, or is a machine.
    pub fn require_root(&self) -> Result<()> {
        self.require_uid(0)
    }

    /// Checks that the peer runs as the user that this process runs as.
    ///
    /// # Errors
    /// PERMISSION_DENIED: it runs as another one, or is a machine.
    #[cfg(any(feature = "tokio", feature = "blocking"))]
    pub fn require_same_user(&self) -> Result<()> {
        self.require_uid(crate::socket::effective_uid())
    }

    fn require(&self, what: &str, is: Option<u32>, required: u32) -> Result<()> {
        if is == Some(required) {
            return Ok(());
        }
        let peer = match (is, self.0) {
            (Some(is), _) => format!("{what} {is}"),
            (None, Who::Process { uid, .. }) => format!("a process of user {uid}"),
            (None, Who::Machine { cid }) => format!("a machine, context id {cid}"),
        };
        let message = format!("the peer is {peer}, and only {what} {required} may connect");
        Err(Status::permission_denied(message).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_required_gets_in() {
        let process = Peer(Who::Process {
            pid: Some(7),
            uid: 1000,
            gid: 100,
        });
        let machine = Peer(Who::Machine { cid: 3 });
        assert_eq!((process.pid(), process.cid()), (Some(7), None));
        assert_eq!((process.uid(), process.gid()), (Some(1000), Some(100)));
        assert_eq!((machine.pid(), machine.cid()), (None, Some(3)));
        assert_eq!((machine.uid(), machine.gid()), (None, None));
        process.require_uid(1000).unwrap();
        process.require_gid(100).unwrap();
        machine.require_cid(3).unwrap();
        for (refused, says) in [
            (
                process.require_uid(0),
                "the peer is user 1000, and only user 0 may",
            ),
            (
                process.require_gid(1),
                "the peer is group 100, and only group 1 may",
            ),
            (
                process.require_cid(2),
                "the peer is a process of user 1000, and only context id 2",
            ),
            (
                machine.require_cid(2),
                "the peer is context id 3, and only context id 2 may",
            ),
            (
                machine.require_root(),
                "the peer is a machine, context id 3, and only user 0",
            ),
        ] {
            let error = refused.unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
