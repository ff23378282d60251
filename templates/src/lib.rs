//! The code that `protoc-gen-ttrpc` emits, as ordinary Rust.
//!
//! Each template is a module that holds one model service with one rpc of each
//! kind. It is compiled against the runtime, linted and formatted like any other
//! code; to change what is generated, edit the template.
//!
//! # Placeholders
//!
//! The generator instantiates the model once for each service of a .proto file:
//!
//! | in the template | becomes |
//! |---|---|
//! | `Model`, `ModelClient`, `ModelServer` | the service's trait, client and server |
//! | `ModelImpl` | the type that a server is generic over, so named that no service can hide it |
//! | `"model.Model"` | the service's name on the wire |
//! | `unary`, `server_stream`, `client_stream`, `bidi` | the rpc's Rust name |
//! | `UNARY` | the same in upper case, of a constant |
//! | `"Unary"`, `"ServerStream"`, `"ClientStream"`, `"Bidi"` | the rpc's name on the wire |
//! | `super::Request`, `super::Reply` | the paths of the rpc's messages |
//! | `super::ModelCodec` | the codec of the chosen message crate |
//! | `#[doc = "Model"]`, `#[doc = "Rpc"]` | the comments in the .proto, and `#[deprecated]` |
//!
//! Every trait item, impl item or match arm that mentions one model rpc is repeated
//! for each rpc of that kind.
//!
//! Methods that are called with a dot are the runtime's, whatever their name; those
//! of the model are called by path, which also keeps an rpc `Clone` apart from that
//! of `Arc`.
//!
//! Names that are not placeholders are absolute paths, so that no service, rpc or
//! message of a user can shadow them.

/// The template of the asynchronous flavour.
pub const ASYNCHRONOUS: &str = include_str!("asynchronous.rs");

/// The template of the blocking flavour.
pub const BLOCKING: &str = include_str!("blocking.rs");

mod starters;

pub use starters::{STARTERS, Starter};

#[cfg(test)]
mod asynchronous;

#[cfg(test)]
mod blocking;

#[cfg(test)]
mod model;

#[cfg(test)]
mod model_test;

#[cfg(test)]
use model::{ModelCodec, Reply, Request};
