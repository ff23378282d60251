//! containerd's shim services as a user would have them: generated, and nothing else.

// The messages are rust-protobuf's.
#![allow(missing_docs, clippy::unwrap_used)]

include!(concat!(env!("OUT_DIR"), "/mod.rs"));
