//! How a client is to be: its settings, and the builder that takes them.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Client, CloseOnDrop, Link, OpenConnection};
use crate::addr::Address;
use crate::connection::{Driver, NoCalls, Shared};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::interceptor::{Chain, Interceptor};
use crate::limits::Limits;
use crate::metadata::Metadata;
use crate::proto::client;
use crate::transport;

type OnClose = Arc<dyn Fn(&Error) + Send + Sync>;

/// What is the same for every call of a client.
#[derive(Clone, Default)]
pub(super) struct Settings {
    pub(super) limits: Limits,
    timeout: Option<Duration>,
    metadata: Metadata,
    pub(super) interceptors: Chain,
    send_cancel: bool,
    on_close: Option<OnClose>,
}

/// Makes a [`Client`].
#[must_use]
#[derive(Default)]
pub struct ClientBuilder {
    settings: Settings,
    reconnect: bool,
}

impl ClientBuilder {
    /// Holds the connection to other limits than the default.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Gives calls without a deadline this much time. Default: as much as they take.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = Some(timeout);
        self
    }

    /// Adds a value that travels with every call whose context does not have the key.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.metadata.append(key, value);
        self
    }

    /// Puts an interceptor around every call, inside of those that were added before.
    pub fn interceptor(mut self, interceptor: impl Interceptor) -> Self {
        self.settings.interceptors.add(interceptor);
        self
    }

    /// Tells the server when a call is given up, by a frame that is not part of ttrpc 1.2.
    /// Servers that do not know it ignore it, or answer it with an error that nobody waits
    /// for (PROTOCOL.md §10). Default: off.
    pub fn send_cancel(mut self, send_cancel: bool) -> Self {
        self.settings.send_cancel = send_cancel;
        self
    }

    /// Calls a function once for each connection that ends, with the reason.
    pub fn on_close(mut self, f: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        self.settings.on_close = Some(Arc::new(f));
        self
    }

    /// After the connection has ended, connects again for the next call. The calls that
    /// were on it fail all the same: only their caller knows whether they can be repeated.
    /// It needs an address, so it counts for [`connect`](Self::connect) alone. Default: off.
    pub fn reconnect(mut self, reconnect: bool) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// Connects to a server: to `unix:///path`, `unix://@abstract` or an [`Address`].
    ///
    /// # Errors
    /// The address is none, or nobody listens there.
    pub async fn connect<A>(self, address: A) -> Result<Client>
    where
        A: TryInto<Address>,
        A::Error: Into<Error>,
    {
        let address = address.try_into().map_err(Into::into)?;
        let connection = self.settings.open(transport::connect(&address).await?);
        let link = match self.reconnect {
            true => Link::Again(address, Mutex::new(connection)),
            false => Link::Fixed(connection),
        };
        Ok(Client::with(link, self.settings))
    }

    /// Makes calls over `io`, a connection of any kind.
    ///
    /// # Panics
    /// Outside of a tokio runtime: a task is spawned that drives the connection.
    pub fn over(self, io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Client {
        let connection = self.settings.open(io);
        Client::with(Link::Fixed(connection), self.settings)
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").finish_non_exhaustive()
    }
}

impl Settings {
    /// Starts to drive a connection.
    pub(super) fn open(
        &self,
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> OpenConnection {
        let endpoint = client::Connection::new(self.limits.clone()).send_cancel(self.send_cancel);
        let connection = Shared::new(endpoint);
        let driver = Driver::new(Arc::clone(&connection), io, NoCalls);
        match &self.on_close {
            None => drop(tokio::spawn(driver)),
            Some(on_close) => {
                let (on_close, connection) = (Arc::clone(on_close), Arc::clone(&connection));
                tokio::spawn(async move {
                    // It tells the calls how it ended.
                    let _ = driver.await;
                    connection.ended().iter().for_each(|error| on_close(error));
                });
            }
        }
        OpenConnection(Arc::new(CloseOnDrop(connection)))
    }

    /// The context of a call, with what every call has.
    pub(super) fn apply<'a>(&self, ctx: &'a Context) -> Cow<'a, Context> {
        let timeout = self.timeout.filter(|_| ctx.deadline().is_none());
        if timeout.is_none() && self.metadata.is_empty() {
            return Cow::Borrowed(ctx);
        }
        let mut ctx = ctx.clone();
        if let Some(timeout) = timeout {
            ctx = ctx.with_timeout(timeout);
        }
        let own = |key: &str| ctx.metadata().get(key).is_some();
        let missing: Metadata = self.metadata.iter().filter(|(key, _)| !own(key)).collect();
        for (key, value) in missing.iter() {
            ctx.metadata_mut().append(key, value);
        }
        Cow::Owned(ctx)
    }
}
