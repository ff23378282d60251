//! What is the same for every call of a client, and the options that set it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::context::Context;
use crate::error::Error;
use crate::interceptor::Chain;
use crate::limits::Limits;
use crate::metadata::Metadata;
use crate::proto::client;

pub(crate) type OnClose = Arc<dyn Fn(&Error) + Send + Sync>;

/// What is the same for every call of a client.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub(crate) limits: Arc<Limits>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) metadata: Metadata,
    pub(crate) interceptors: Chain,
    pub(crate) send_cancel: bool,
    pub(crate) on_close: Option<OnClose>,
    pub(crate) reconnect: bool,
}

impl Settings {
    /// The protocol's side of a connection.
    pub(crate) fn endpoint<S: Default>(&self) -> client::Connection<S> {
        client::Connection::new(self.limits.clone()).send_cancel(self.send_cancel)
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

/// The options that the builders of both flavours have. They set `self.settings`.
macro_rules! client_options {
    () => {
        /// Holds the connection to other limits than the default.
        pub fn limits(mut self, limits: $crate::Limits) -> Self {
            self.settings.limits = limits.into();
            self
        }

        /// Gives calls without a deadline this much time; one that has to connect again first
        /// has as much for that, too. Default: as much as they take.
        pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
            self.settings.timeout = Some(timeout);
            self
        }

        /// Adds a value that travels with every call whose context does not have the key.
        pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
            self.settings.metadata.append(key, value);
            self
        }

        /// Tells the server when a call is given up, by a frame that is not part of
        /// ttrpc 1.2. Servers that do not know it ignore it, or answer it with an error
        /// that nobody waits for (PROTOCOL.md §10). Default: off.
        pub fn send_cancel(mut self, send_cancel: bool) -> Self {
            self.settings.send_cancel = send_cancel;
            self
        }

        /// After the connection has ended, connects again for the next call. The calls
        /// that were on it fail all the same: only their caller knows whether they can be
        /// repeated. One that has made so many calls that it has no stream id left is
        /// replaced as well, and ends with its last call. It needs an address, so it counts
        /// for [`connect`](Self::connect) alone. Default: off.
        pub fn reconnect(mut self, reconnect: bool) -> Self {
            self.settings.reconnect = reconnect;
            self
        }
    };
}
pub(crate) use client_options;
