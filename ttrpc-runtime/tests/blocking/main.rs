//! The blocking flavour on real sockets.
#![cfg(feature = "blocking")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod calls;
mod cancelling;
mod crowds;
mod deadlines;
mod ends;
mod faults;
mod peer;
mod streams;
mod support;
mod threads;
