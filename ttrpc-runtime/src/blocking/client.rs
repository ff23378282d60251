//! The client of the blocking flavour.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connection::{Connection, Host, Shared};
use super::interceptor::Interceptor;
use super::park::{self, block_on};
use super::streaming::Streaming;
use crate::addr::Address;
use crate::calls::{Calls, OnClose, OpenConnection, Settings, client_options};
use crate::codec::Codec;
use crate::connection::{Slot, ended};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::proto::{client, server};
use crate::transport::{explain, socket_for};

/// A connection to a server, and the calls on it.
///
/// A clone shares the connection; any number of threads call on it at once. It is closed
/// when the last clone and the last call are gone.
///
/// There is no thread behind it: the thread that calls writes the request and reads the
/// reply. Where several wait, one of them reads for all. So the end of an idle connection
/// is noticed by the next call, unless there is a
/// [`reader_thread`](ClientBuilder::reader_thread).
///
/// One thread can have several calls under way, by [`start`](Self::start).
///
/// ```no_run
/// use ttrpc_runtime::blocking::Client;
///
/// let client = Client::connect("unix:///run/greeter.sock")?;
/// # Ok::<(), ttrpc_runtime::Error>(())
/// ```
#[derive(Clone)]
pub struct Client {
    pub(super) calls: Calls,
}

impl Client {
    /// Begins to make a client that is not like the default.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Connects to a server: to `unix:///path`, `unix://@abstract`,
    /// `vsock://context-id:port` or an [`Address`].
    ///
    /// A server that others wait for already may have no room for one more. That is waited for,
    /// however long it takes.
    ///
    /// # Errors
    /// The address is none, or nobody listens there.
    pub fn connect<A>(address: A) -> Result<Self>
    where
        A: TryInto<Address>,
        A::Error: Into<Error>,
    {
        Self::builder().connect(address)
    }

    /// Makes calls over a connected socket of any kind: a `UnixStream`, say.
    ///
    /// # Errors
    /// It is no socket.
    pub fn new(socket: impl Into<OwnedFd>) -> Result<Self> {
        Self::builder().over(socket)
    }

    /// Waits until the connection has ended, and says why.
    pub fn closed(&self) -> Error {
        block_on(self.calls.closed())
    }

    /// Calls a method with one message each way.
    ///
    /// # Errors
    /// The call failed: by its handler, its deadline, its context or its connection.
    pub fn unary<C, Req, Rep>(
        &self,
        codec: C,
        ctx: &Context,
        service: &str,
        method: &str,
        request: Req,
    ) -> Result<Rep>
    where
        C: Codec<Req> + Codec<Rep>,
        Req: Send,
    {
        block_on(self.calls.unary(codec, ctx, service, method, request))
    }

    /// Calls a method with one message, and a stream of messages back.
    ///
    /// # Errors
    /// The call can't be made. That it failed otherwise, the stream says.
    pub fn server_streaming<C, Req, Rep>(
        &self,
        codec: C,
        ctx: &Context,
        service: &str,
        method: &str,
        request: Req,
    ) -> Result<Streaming<Rep>>
    where
        C: Codec<Req> + Codec<Rep>,
        Req: Send,
        Rep: Send + 'static,
    {
        let calls = &self.calls;
        block_on(calls.server_streaming(codec, ctx, service, method, request)).map(Streaming)
    }

    /// Calls a method with a stream of messages, and one message back.
    ///
    /// The calling thread sends the requests; that the call is over it sees between two of
    /// them.
    ///
    /// # Errors
    /// The call failed, or the stream of requests yielded an error: then with that.
    pub fn client_streaming<C, Req, Rep>(
        &self,
        codec: C,
        ctx: &Context,
        service: &str,
        method: &str,
        requests: Streaming<Req>,
    ) -> Result<Rep>
    where
        C: Codec<Req> + Codec<Rep>,
        Req: Send + 'static,
    {
        let calls = &self.calls;
        block_on(calls.client_streaming(codec, ctx, service, method, requests.0))
    }

    /// Calls a method with a stream of messages each way.
    ///
    /// The requests are sent whether the replies are read or not: by whoever has the
    /// sender of a [`channel`](Streaming::channel), otherwise by a thread of their own.
    ///
    /// # Errors
    /// The call can't be made, or the thread. That it failed otherwise, the stream says.
    pub fn bidi_streaming<C, Req, Rep>(
        &self,
        codec: C,
        ctx: &Context,
        service: &str,
        method: &str,
        requests: Streaming<Req>,
    ) -> Result<Streaming<Rep>>
    where
        C: Codec<Req> + Codec<Rep>,
        Req: Send + 'static,
        Rep: Send + 'static,
    {
        let calls = &self.calls;
        block_on(calls.bidi_streaming(codec, ctx, service, method, requests.0)).map(Streaming)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("ended", &self.calls.ended())
            .finish()
    }
}

/// Makes a [`Client`].
#[must_use]
#[derive(Default)]
pub struct ClientBuilder {
    settings: Settings,
    reader_thread: bool,
}

impl ClientBuilder {
    client_options!();

    /// Puts an interceptor around every call, inside of those that were added before.
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.settings
            .interceptors
            .add(super::interceptor::Threaded(interceptor));
        self
    }

    /// Calls a function once for each connection that ends, with the reason; when that is
    /// noticed, see [`reader_thread`](Self::reader_thread).
    pub fn on_close(mut self, f: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        self.settings.on_close = Some(Arc::new(f));
        self
    }

    /// Keeps a thread that reads, for those who want to know at once when an idle
    /// connection ends. Calls then have to be woken by it, which costs time. Default: off.
    pub fn reader_thread(mut self, reader_thread: bool) -> Self {
        self.reader_thread = reader_thread;
        self
    }

    /// Connects to a server: to `unix:///path`, `unix://@abstract`,
    /// `vsock://context-id:port` or an [`Address`].
    ///
    /// A server that others wait for already may have no room for one more. That is waited for,
    /// however long it takes.
    ///
    /// # Errors
    /// The address is none, or nobody listens there.
    pub fn connect<A>(self, address: A) -> Result<Client>
    where
        A: TryInto<Address>,
        A::Error: Into<Error>,
    {
        let address = address.try_into().map_err(Into::into)?;
        let Self {
            settings,
            reader_thread,
        } = self;
        let first = open(&settings, reader_thread, connect(&address, None)?)?;
        if !settings.reconnect {
            let calls = Calls::over(first, settings);
            return Ok(Client { calls });
        }
        let again = settings.clone();
        let connect = Box::new(move |deadline| {
            let opened = connect(&address, deadline).and_then(|io| open(&again, reader_thread, io));
            Box::pin(std::future::ready(opened)) as _
        });
        let calls = Calls::again(first, settings, connect);
        Ok(Client { calls })
    }

    /// Makes calls over a connected socket of any kind: a `UnixStream`, say.
    ///
    /// # Errors
    /// It is no socket.
    pub fn over(self, socket: impl Into<OwnedFd>) -> Result<Client> {
        let connection = open(&self.settings, self.reader_thread, socket.into())?;
        let calls = Calls::over(connection, self.settings);
        Ok(Client { calls })
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").finish_non_exhaustive()
    }
}

/// The least time that a socket knows.
const LEAST: Duration = Duration::from_micros(1);

/// Connects, by then if there is a deadline: a server that does not accept may have no room for
/// one more that waits.
fn connect(address: &Address, deadline: Option<Instant>) -> Result<OwnedFd> {
    let connected = socket_for(address).and_then(|(socket, at)| {
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let outcome = match (left, address) {
                (None, _) => socket.connect(&at),
                // It keeps to a time of its own, and to none that the socket has.
                (Some(left), Address::Vsock { .. }) => socket.connect_timeout(&at, left),
                (Some(left), _) => {
                    // No time at all would be no limit.
                    socket.set_write_timeout(Some(left.max(LEAST)))?;
                    socket.connect(&at)
                }
            };
            match outcome {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome.map(|()| socket.into()),
            }
        }
    });
    connected.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock if deadline.is_some() => Error::timeout(),
        // And not what the system had no answer to.
        io::ErrorKind::TimedOut if error.raw_os_error().is_none() => Error::timeout(),
        _ => explain(error, "connect to", address),
    })
}

fn open(settings: &Settings, reader_thread: bool, socket: OwnedFd) -> Result<OpenConnection> {
    let host = Alone {
        on_close: settings.on_close.clone(),
    };
    let connection = Connection::new(socket, settings.endpoint(), host)?;
    if reader_thread {
        let reads = Arc::clone(&connection);
        std::thread::Builder::new().spawn(move || block_on(ended(&*reads)))?;
    }
    Ok(OpenConnection::new(connection))
}

/// A client's connection has nobody but those who call.
pub(super) struct Alone {
    on_close: Option<OnClose>,
}

impl Host for Alone {
    type End = client::Connection<Slot>;
    type Registration = ();
    const PASSES_ON: bool = true;

    // A client is not called.
    fn call(&self, _: &Arc<Connection<Self>>, _: server::Call) {}

    // Whoever waits next reads and writes.
    fn take_over(&self, _: &Arc<Connection<Self>>, _: &mut Shared<Self>) -> io::Result<()> {
        Ok(())
    }
    fn let_go(&self, _: &Connection<Self>, _: &mut Shared<Self>) {}
    fn blocked(&self, _: &Connection<Self>, _: &mut Shared<Self>) -> io::Result<()> {
        Ok(())
    }
    fn resume(&self, _: &Arc<Connection<Self>>, _: &mut Shared<Self>) {}

    fn ended(&self, error: &Error) {
        if let Some(on_close) = &self.on_close {
            let (on_close, error) = (Arc::clone(on_close), error.clone());
            park::later(Box::new(move || on_close(&error)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that does not answer is waited for no longer, by the system two seconds.
    #[test]
    fn vsock_is_connected_to_in_time() {
        let nobody = Address::Vsock { cid: 1, port: 9 };
        let deadline = Instant::now() + Duration::from_millis(20);
        let error = connect(&nobody, Some(deadline)).unwrap_err();
        // Where there is no such machine, the system says so at once.
        let text = error.to_string();
        assert!(
            error.is_timeout() != text.contains("can't connect"),
            "{text}"
        );
    }
}
