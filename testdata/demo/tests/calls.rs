//! The four kinds of call, over real sockets, through proxies and without any.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use support::{connect, serve, socket};
use ttrpc_demo::{
    Feature, Guide, Point, Rectangle, RouteGuide, RouteGuideClient, RouteGuideServer, RouteNote,
    RouteSummary, point, tour,
};
use ttrpc_runtime::{Client, Context, Limits, Listener, Result, Server, Status, Streaming};

async fn transcript(guide: &impl RouteGuide) -> Vec<String> {
    let mut lines = Vec::new();
    tour(guide, |line| lines.push(line.to_owned()))
        .await
        .unwrap();
    lines
}

/// Forwards every call over a connection of its own.
struct Proxy<T>(T);

impl<T: RouteGuide> RouteGuide for Proxy<T> {
    async fn get_feature(&self, ctx: &Context, request: Point) -> Result<Feature> {
        self.0.get_feature(ctx, request).await
    }

    async fn list_features(&self, ctx: &Context, request: Rectangle) -> Result<Streaming<Feature>> {
        self.0.list_features(ctx, request).await
    }

    async fn record_route(&self, ctx: &Context, points: Streaming<Point>) -> Result<RouteSummary> {
        self.0.record_route(ctx, points).await
    }

    async fn route_chat(
        &self,
        ctx: &Context,
        notes: Streaming<RouteNote>,
    ) -> Result<Streaming<RouteNote>> {
        self.0.route_chat(ctx, notes).await
    }
}

#[tokio::test]
async fn a_service_its_client_and_a_proxy_are_the_same_to_a_caller() {
    let direct = transcript(&Guide::default()).await;
    assert!(direct.iter().any(|line| line.contains("Nice columns.")));
    assert_eq!(transcript(&connect(Guide::default()).await).await, direct);

    let behind = connect(Guide::default()).await;
    let proxy = connect(Proxy(behind)).await;
    assert_eq!(transcript(&proxy).await, direct);

    let threefold = Proxy(connect(Proxy(connect(Guide::default()).await)).await);
    assert_eq!(transcript(&threefold).await, direct);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_same_on_several_threads() {
    let direct = transcript(&Guide::default()).await;
    let proxy = connect(Proxy(connect(Guide::default()).await)).await;
    assert_eq!(transcript(&proxy).await, direct);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_abstract_socket() {
    let address = format!("unix://@ttrpc-test-{}", std::process::id());
    let server = Server::builder()
        .service(RouteGuideServer::new(Guide::default()))
        .build()
        .unwrap();
    let listener = Listener::bind(&*address).unwrap();
    tokio::spawn(async move { server.serve(listener).await });
    let client = RouteGuideClient::new(Client::connect(&*address).await.unwrap());
    transcript(&client).await;
}

/// One server behind two listeners and a pipe that is no socket at all.
#[tokio::test]
async fn several_listeners_and_any_byte_stream() {
    let (server, first) = serve(Guide::default());
    let second = socket();
    let listener = Listener::bind(&second).unwrap();
    let (near, far) = tokio::io::duplex(100);
    let serving = server.clone();
    tokio::spawn(async move {
        let _ = tokio::join!(serving.serve(listener), serving.serve_connection(far));
    });
    for client in [
        Client::connect(&first).await.unwrap(),
        Client::connect(&second).await.unwrap(),
        Client::new(near),
    ] {
        let feature = RouteGuideClient::new(client)
            .get_feature(&Context::default(), point(525_186_200, 133_761_900))
            .await
            .unwrap();
        assert_eq!(feature.name, "Reichstag");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_calls_at_once_on_one_connection() {
    struct Echo;
    impl RouteGuide for Echo {
        async fn get_feature(&self, _: &Context, request: Point) -> Result<Feature> {
            // Some answer at once, some later, so that replies overtake each other.
            if request.latitude % 3 == 0 {
                tokio::time::sleep(Duration::from_millis((request.latitude % 7) as u64)).await;
            }
            Ok(Feature {
                name: request.latitude.to_string(),
                ..Feature::default()
            })
        }
    }
    let client = connect(Echo).await;
    let calls: Vec<_> = (0..1000)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move {
                let reply = client.get_feature(&Context::default(), point(n, 0)).await;
                (n, reply.unwrap().name)
            })
        })
        .collect();
    for call in calls {
        let (n, name) = call.await.unwrap();
        assert_eq!(name, n.to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_messages_each_way_in_order() {
    struct Mirror;
    impl RouteGuide for Mirror {
        async fn route_chat(
            &self,
            _: &Context,
            notes: Streaming<RouteNote>,
        ) -> Result<Streaming<RouteNote>> {
            Ok(notes)
        }
    }
    let client = connect(Mirror).await;
    let note = |n: u32| RouteNote {
        message: format!("{n} {}", "x".repeat((n % 100) as usize)),
        ..RouteNote::default()
    };
    let notes = Streaming::from_iter((0..10_000).map(note));
    let mut replies = client.route_chat(&Context::default(), notes).await.unwrap();
    for n in 0..10_000 {
        assert_eq!(replies.message().await.unwrap(), Some(note(n)));
    }
    assert_eq!(replies.message().await.unwrap(), None);
}

/// The requests go on although nobody reads the replies.
#[tokio::test]
async fn requests_make_progress_while_replies_wait() {
    let client = connect(Guide::default()).await;
    let (notes, requests) = Streaming::channel(1);
    let ctx = Context::default();
    let mut replies = client.route_chat(&ctx, requests).await.unwrap();
    for _ in 0..50 {
        notes.send(RouteNote::default()).await.unwrap();
    }
    drop(notes);
    let mut count = 0;
    while replies.message().await.unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 50 * 49 / 2);
}

#[tokio::test]
async fn messages_up_to_the_limit_and_an_error_beyond() {
    struct Parrot;
    impl RouteGuide for Parrot {
        async fn get_feature(&self, _: &Context, request: Point) -> Result<Feature> {
            Ok(Feature {
                name: "x".repeat(request.latitude as usize),
                ..Feature::default()
            })
        }
        async fn record_route(&self, _: &Context, _: Streaming<Point>) -> Result<RouteSummary> {
            Ok(RouteSummary::default())
        }
        async fn route_chat(
            &self,
            _: &Context,
            notes: Streaming<RouteNote>,
        ) -> Result<Streaming<RouteNote>> {
            Ok(notes)
        }
    }
    let client = connect(Parrot).await;
    let ctx = Context::default();
    // The name's tag and length take 5 bytes, and the reply's as many again.
    let most = (4 << 20) - 10;
    let feature = client.get_feature(&ctx, point(most, 0)).await.unwrap();
    assert_eq!(feature.name.len(), most as usize);
    let error = client
        .get_feature(&ctx, point(most + 1, 0))
        .await
        .unwrap_err();
    let status = error.status().unwrap();
    assert_eq!(status.code, ttrpc_runtime::Code::RESOURCE_EXHAUSTED);
    assert!(
        status.message.contains("4194305 bytes"),
        "{}",
        status.message
    );

    // Not even sent: the error still knows its lengths.
    let notes = |len| {
        Streaming::from_iter([RouteNote {
            message: "y".repeat(len),
            ..RouteNote::default()
        }])
    };
    let mut replies = client.route_chat(&ctx, notes(5 << 20)).await.unwrap();
    let error = replies.message().await.unwrap_err();
    assert_eq!(error.too_large_by().map(|(_, max)| max), Some(4 << 20));
    // And the connection is none the worse.
    let mut replies = client.route_chat(&ctx, notes(3 << 20)).await.unwrap();
    let note = replies.message().await.unwrap().unwrap();
    assert_eq!(note.message.len(), 3 << 20);
}

/// A server that is done with a stream of requests before it has seen the end.
#[tokio::test]
async fn an_early_answer_ends_the_stream_of_requests() {
    struct Enough;
    impl RouteGuide for Enough {
        async fn record_route(
            &self,
            _: &Context,
            mut points: Streaming<Point>,
        ) -> Result<RouteSummary> {
            points.message().await?;
            Err(Status::out_of_range("one was enough").into())
        }
    }
    let client = connect(Enough).await;
    let ctx = Context::default();
    for _ in 0..3 {
        let endless = Streaming::from_iter((0..).map(|n| point(n, 0)));
        let error = client.record_route(&ctx, endless).await.unwrap_err();
        assert_eq!(error.status().unwrap().message, "one was enough");
    }
}

/// A slow reader at the end holds the sender back instead of filling memory.
#[tokio::test]
async fn a_stream_waits_for_its_reader() {
    // However slow the machine is: it is not about the time that a reader may take.
    let mut limits = Limits::default();
    limits.stall_timeout = Duration::from_secs(60);
    let (server, path) = serve(Flood);
    let client = Client::builder()
        .limits(limits)
        .connect(&path)
        .await
        .unwrap();
    let ctx = Context::default();
    let mut features = RouteGuideClient::new(client)
        .list_features(&ctx, Rectangle::default())
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut seen = BTreeSet::new();
    while let Some(feature) = features.message().await.unwrap() {
        assert!(seen.insert(feature.name[..8].to_owned()));
    }
    assert_eq!(seen.len(), 200);
    server.close();
}

struct Flood;

impl RouteGuide for Flood {
    async fn list_features(&self, _: &Context, _: Rectangle) -> Result<Streaming<Feature>> {
        Ok(Streaming::from_iter((0..200).map(|n| Feature {
            name: format!("{n:08}{}", "z".repeat(100_000)),
            ..Feature::default()
        })))
    }
}
