//! The protocol's rules, held against the core without I/O: what each input must lead
//! to at a server and at a client, and both ends joined by pipes under a virtual clock.
//!
//! Nothing in here sleeps, opens a socket or measures time. A test that stands
//! for a row of the rules' table "What each input must lead to" quotes the row.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attention;
mod bystander;
mod client_calls;
mod client_streams;
mod frames;
mod hostile;
mod pair;
mod pair_limits;
mod pipes;
mod server_calls;
mod server_calls_together;
mod server_frames;
mod server_limits;
mod server_streams;
mod simulation;
mod writing;
