//! containerd's shim services as a user would have them: generated, and nothing else.

#![allow(missing_docs)] // The messages', by rust-protobuf.

include!(concat!(env!("OUT_DIR"), "/mod.rs"));
