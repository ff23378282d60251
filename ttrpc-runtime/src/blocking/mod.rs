//! The blocking flavour: threads, and no asynchronous runtime.
//!
//! It has the names, options, limits and behaviour of the asynchronous flavour at the
//! crate root, without `async`: [`Client`], [`Server`], [`Streaming`], and what a handler
//! gets and gives. [`Context`](crate::Context), [`Status`](crate::Status),
//! [`Error`](crate::Error), [`Limits`](crate::Limits) and
//! [`Listener`](crate::Listener) are the same for both.
//!
//! ```text
//!  client, pending, server, service, streaming,        what users see
//!  interceptor
//!       |                         |
//!  park: a thread waits           |   host: a server's connection
//!       |                         |   hub: the thread that watches them
//!  connection: whoever waits      |   pool: the threads that run handlers
//!  for it drives it  -------------+
//! ```

mod client;
mod connection;
mod host;
mod hub;
mod interceptor;
mod park;
mod pending;
mod pool;
mod server;
mod service;
mod streaming;

pub use self::client::{Client, ClientBuilder};
pub use self::interceptor::{Body, Interceptor, Invocation, Next};
pub use self::pending::{Method, Pending};
pub(crate) use self::pool::spawn;
pub use self::server::{Server, ServerBuilder};
pub use self::service::{Call, Reply, Service, unimplemented};
pub use self::streaming::{Sender, Streaming};

/// Waits for a future, for `at_most` that long.
pub(crate) fn wait(future: impl Future<Output = ()>, at_most: std::time::Duration) {
    let until = std::time::Instant::now().checked_add(at_most);
    park::block_on_while(future, until, || true);
}
