//! Connections whose frames a case writes and reads itself.

use std::path::{Path, PathBuf};

use protobuf::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use ttrpc_runtime::Code;

use crate::caller::SERVICE;
use crate::outcome::{Failure, Outcome, check, check_eq, patiently};
use crate::protos::envelope::{Request, Response};

pub const REQUEST: u8 = 1;
pub const RESPONSE: u8 = 2;
pub const DATA: u8 = 3;

pub const REMOTE_CLOSED: u8 = 0x01;
pub const REMOTE_OPEN: u8 = 0x02;
pub const NO_DATA: u8 = 0x04;

/// The most data of a frame.
pub const MAX_DATA: usize = 4 << 20;

/// A frame, as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    pub id: u32,
    pub kind: u8,
    pub flags: u8,
    pub data: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (shown, more) = match self.data.get(..64) {
            Some(beginning) => (beginning, "…"),
            None => (&self.data[..], ""),
        };
        write!(
            f,
            "[id {} type {} flags {:#04x} length {} data {}{more}]",
            self.id,
            self.kind,
            self.flags,
            self.data.len(),
            crate::hex::encode(shown)
        )
    }
}

impl Frame {
    /// The frame as a Request.
    pub fn request(&self) -> Outcome<Request> {
        check_eq!(self.kind, REQUEST, "the type of {self:?}");
        Ok(Request::parse_from_bytes(&self.data)?)
    }

    /// The frame as a Response.
    pub fn response(&self) -> Outcome<Response> {
        check_eq!(self.kind, RESPONSE, "the type of {self:?}");
        check_eq!(self.flags, 0, "the flags of {self:?}");
        Ok(Response::parse_from_bytes(&self.data)?)
    }

    /// The code of a Response.
    pub fn code(&self) -> Outcome<Code> {
        Ok(Code(self.response()?.status.code))
    }

    /// The message in a Response that is a success, or in Data.
    pub fn message<M: Message>(&self) -> Outcome<M> {
        if self.kind == DATA {
            return Ok(M::parse_from_bytes(&self.data)?);
        }
        let response = self.response()?;
        check_eq!(response.status.code, 0, "the code of {self:?}");
        Ok(M::parse_from_bytes(&response.payload)?)
    }
}

/// A connection.
pub struct Frames {
    stream: UnixStream,
}

impl Frames {
    pub async fn connect(path: &Path) -> Outcome<Self> {
        let stream = UnixStream::connect(path).await?;
        Ok(Self { stream })
    }

    /// Writes bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        Ok(patiently("writing", self.stream.write_all(bytes)).await??)
    }

    pub async fn send(&mut self, id: u32, kind: u8, flags: u8, data: &[u8]) -> Outcome<()> {
        let head = header(data.len() as u32, id, kind, flags);
        self.write(&[&head, data].concat()).await
    }

    /// Sends a Request without a deadline or metadata.
    pub async fn request(
        &mut self,
        id: u32,
        flags: u8,
        method: &str,
        message: &impl Message,
    ) -> Outcome<()> {
        let request = request(method, message)?;
        self.send(id, REQUEST, flags, &request.write_to_bytes()?)
            .await
    }

    /// Sends a message on a stream.
    pub async fn data(&mut self, id: u32, message: &impl Message) -> Outcome<()> {
        self.send(id, DATA, 0, &message.write_to_bytes()?).await
    }

    /// Ends this side of a stream.
    pub async fn close(&mut self, id: u32) -> Outcome<()> {
        self.send(id, DATA, REMOTE_CLOSED | NO_DATA, &[]).await
    }

    /// Sends a Response with a reply.
    pub async fn reply(&mut self, id: u32, message: &impl Message) -> Outcome<()> {
        let mut response = Response::new();
        response.payload = message.write_to_bytes()?.into();
        self.send(id, RESPONSE, 0, &response.write_to_bytes()?)
            .await
    }

    /// The next frame; `None` where the connection ended.
    pub async fn next(&mut self) -> Outcome<Option<Frame>> {
        patiently("a frame", self.read()).await?
    }

    async fn read(&mut self) -> Outcome<Option<Frame>> {
        let mut header = [0; 10];
        match self.stream.read_exact(&mut header).await {
            Ok(_) => {}
            // A server may close with bytes of ours unread.
            Err(error) if is_end(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let [a, b, c, d, e, f, g, h, kind, flags] = header;
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        check!(
            len <= 2 * MAX_DATA,
            "a frame of {len} bytes: far over the limit"
        );
        let mut data = vec![0; len];
        self.stream.read_exact(&mut data).await?;
        let id = u32::from_be_bytes([e, f, g, h]);
        Ok(Some(Frame {
            id,
            kind,
            flags,
            data,
        }))
    }

    /// The next frame, which is to be one of a stream.
    pub async fn expect(&mut self, id: u32) -> Outcome<Frame> {
        match self.next().await? {
            Some(frame) if frame.id == id => Ok(frame),
            Some(frame) => Err(Failure::new(format!(
                "expected a frame of stream {id}, got {frame:?}"
            ))),
            None => Err(Failure::new(format!(
                "expected a frame of stream {id}, but the connection ended"
            ))),
        }
    }

    /// The next frame, which is to be the end of a stream of messages.
    pub async fn expect_end(&mut self, id: u32) -> Outcome<()> {
        let frame = self.expect(id).await?;
        let expected = Frame {
            id,
            kind: DATA,
            flags: REMOTE_CLOSED | NO_DATA,
            data: Vec::new(),
        };
        check_eq!(frame, expected, "the end of the stream");
        Ok(())
    }

    /// Checks that the server still answers, on a new stream.
    pub async fn expect_alive(&mut self, id: u32) -> Outcome<()> {
        let sent = crate::messages::pattern(id as usize, 100);
        self.request(id, 0, "Echo", &sent).await?;
        let reply: crate::messages::BytesValue = self.expect(id).await?.message()?;
        check!(reply == sent, "the connection is alive but not well");
        Ok(())
    }
}

fn is_end(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset
    )
}

/// The bytes of a header.
pub fn header(length: u32, id: u32, kind: u8, flags: u8) -> [u8; 10] {
    let mut bytes = [0; 10];
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes[4..8].copy_from_slice(&id.to_be_bytes());
    bytes[8..].copy_from_slice(&[kind, flags]);
    bytes
}

/// A Request for a method of the service.
pub fn request(method: &str, message: &impl Message) -> Outcome<Request> {
    let mut request = Request::new();
    request.service = SERVICE.to_owned();
    request.method = method.to_owned();
    request.payload = message.write_to_bytes()?.into();
    Ok(request)
}

/// Where a client under test connects to.
pub struct FramesListener {
    pub path: PathBuf,
    listener: UnixListener,
}

impl FramesListener {
    pub fn bind(path: &Path) -> Outcome<Self> {
        let _ = std::fs::remove_file(path);
        Ok(Self {
            path: path.to_owned(),
            listener: UnixListener::bind(path)?,
        })
    }

    pub async fn accept(&self) -> Outcome<Frames> {
        let (stream, _) = self.listener.accept().await?;
        Ok(Frames { stream })
    }
}
