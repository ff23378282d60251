//! The blocking flavour on real sockets.
#![cfg(feature = "blocking")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod buffers;
mod calls;
mod cancelling;
mod crowds;
mod deadlines;
mod doors;
mod ends;
mod faults;
mod peer;
mod pending;
mod slow;
mod streams;
mod support;
mod threads;
