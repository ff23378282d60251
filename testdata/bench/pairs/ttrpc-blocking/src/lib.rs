//! The crate ttrpc, blocking, as its users write against it. It has no streams.

mod protos {
    pub use bench_messages::payload;

    #[allow(clippy::all, dead_code, unused_imports)]
    pub mod unary_ttrpc {
        include!(concat!(env!("OUT_DIR"), "/unary_ttrpc.rs"));
    }
}

use std::sync::Arc;

use bench_kit::blocking::Caller;
use bench_messages::message;
use bench_messages::payload::Payload;
use bytes::Bytes;
use protos::unary_ttrpc::{Bench, BenchClient, create_bench};
use ttrpc::context::Context;
use ttrpc::{Client, Result, Server, TtrpcContext};

struct Echo;

impl Bench for Echo {
    fn unary(&self, _: &TtrpcContext, request: Payload) -> Result<Payload> {
        Ok(request)
    }
}

/// Serves until it is killed.
pub fn serve(socket: String, ready: fn()) {
    let mut server = Server::new()
        .bind(&format!("unix://{socket}"))
        .unwrap()
        .register_service(create_bench(Arc::new(Echo)));
    server.start().unwrap();
    ready();
    loop {
        std::thread::park();
    }
}

#[derive(Clone)]
pub struct Rival(BenchClient);

impl Caller for Rival {
    type Held = ();

    fn connect(socket: &str) -> Self {
        let client = Client::connect(&format!("unix://{socket}"));
        Self(BenchClient::new(client.unwrap()))
    }

    fn unary(&self, data: Bytes) -> usize {
        let reply = self.0.unary(Context::default(), &message(data));
        reply.unwrap().data.len()
    }
}
