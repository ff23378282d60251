//! The route guide: a service with one rpc of each kind, generated, implemented and
//! called in both flavours.

/// What was generated from `route_guide.proto`.
pub mod protos {
    // The messages are rust-protobuf's.
    #![allow(missing_docs, clippy::unwrap_used)]
    include!(concat!(env!("OUT_DIR"), "/mod.rs"));
}

mod asynchronous;
pub mod blocking;
mod guide;
mod story;

pub use asynchronous::tour;
pub use guide::Guide;
pub use protos::route_guide::{Feature, Point, Rectangle, RouteNote, RouteSummary};
pub use protos::route_guide_ttrpc::{RouteGuide, RouteGuideClient, RouteGuideServer};

/// The point at `latitude` and `longitude`, in units of 1e-7 degrees.
pub fn point(latitude: i32, longitude: i32) -> Point {
    Point {
        latitude,
        longitude,
        ..Point::default()
    }
}
