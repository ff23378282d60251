//! The asynchronous flavour: tasks of tokio.

mod client;
mod driver;
mod io;
mod server;
mod socket;
mod transport;

pub use self::client::{Client, ClientBuilder};
pub use self::server::{Server, ServerBuilder};
