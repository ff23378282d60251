//! A server and a client of the route guide on a real socket.

#![allow(dead_code)] // Each test binary uses its part.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use ttrpc_demo::{RouteGuide, RouteGuideClient, RouteGuideServer};
use ttrpc_runtime::{Client, Listener, Server};

/// A path for a socket that no other test has.
pub fn socket() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "ttrpc-test-{}-{}.sock",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    std::env::temp_dir().join(name)
}

/// Serves `guide` on a socket of its own.
pub fn serve(guide: impl RouteGuide) -> (Server, PathBuf) {
    let server = Server::builder()
        .service(RouteGuideServer::new(guide))
        .build()
        .unwrap();
    let path = socket();
    let listener = Listener::bind(&path).unwrap();
    let serving = server.clone();
    tokio::spawn(async move { serving.serve(listener).await });
    (server, path)
}

/// A client of `guide` over a socket.
pub async fn connect(guide: impl RouteGuide) -> RouteGuideClient {
    let (_, path) = serve(guide);
    RouteGuideClient::new(Client::connect(&path).await.unwrap())
}
