//! One service over the messages of each message crate.

/// With messages by rust-protobuf.
pub mod by_protobuf {
    include!(concat!(env!("OUT_DIR"), "/protobuf/mod.rs"));
}

/// With messages by prost.
pub mod by_prost {
    include!(concat!(env!("OUT_DIR"), "/prost/mod.rs"));
}

/// With messages by buffa.
pub mod by_buffa {
    include!(concat!(env!("OUT_DIR"), "/buffa/mod.rs"));
}
