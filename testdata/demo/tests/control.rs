//! What stands around calls: interceptors, handshakes, settings of clients and servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protobuf::Message;
use support::{serve, socket};
use tokio::sync::Notify;
use ttrpc_demo::{
    Feature, Guide, Point, Rectangle, RouteGuide, RouteGuideClient, RouteGuideServer, RouteNote,
    point, tour,
};
use ttrpc_runtime::codec::Protobuf;
use ttrpc_runtime::{
    Body, Client, ClientBuilder, Code, Context, Interceptor, Invocation, Listener, Next, Result,
    Server, ServerBuilder, Status, Streaming,
};

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("it never came")
}

/// Serves with more than the defaults.
fn serve_with(builder: ServerBuilder, guide: impl RouteGuide) -> (Server, PathBuf) {
    let server = builder
        .service(RouteGuideServer::new(guide))
        .build()
        .unwrap();
    let path = socket();
    let listener = Listener::bind(&path).unwrap();
    let serving = server.clone();
    tokio::spawn(async move { serving.serve(listener).await });
    (server, path)
}

async fn connect_with(builder: ClientBuilder, path: &PathBuf) -> RouteGuideClient {
    RouteGuideClient::new(builder.connect(path).await.unwrap())
}

/// Writes down what passes, by its own name.
struct Log(&'static str, Arc<Mutex<Vec<String>>>);

impl Log {
    fn write(&self, line: String) {
        self.1.lock().unwrap().push(format!("{}: {line}", self.0));
    }
}

impl Interceptor for Log {
    async fn intercept(&self, call: Invocation, next: Next) -> Result<Body> {
        self.write(format!("{} {:?}", call.method(), call.kind()));
        let outcome = next.run(call).await;
        self.write(match &outcome {
            Ok(Body::One(reply)) => format!("{} bytes", reply.len()),
            Ok(Body::Stream(_)) => "a stream".into(),
            Err(error) => error.code().to_string(),
        });
        outcome
    }
}

#[tokio::test]
async fn interceptors_stand_around_every_kind_of_call_in_order() {
    let log = Arc::default();
    let named = |name| Log(name, Arc::clone(&log));
    let (_, path) = serve_with(
        Server::builder()
            .interceptor(named("server 1"))
            .interceptor(named("server 2")),
        Guide::default(),
    );
    let client = connect_with(
        Client::builder()
            .interceptor(named("client 1"))
            .interceptor(named("client 2")),
        &path,
    )
    .await;

    let plain = connect_with(Client::builder(), &serve(Guide::default()).1).await;
    let (mut expected, mut told) = (Vec::new(), Vec::new());
    tour(&plain, |line| expected.push(line.to_owned()))
        .await
        .unwrap();
    tour(&client, |line| told.push(line.to_owned()))
        .await
        .unwrap();
    assert_eq!(told, expected, "interceptors that only look change nothing");

    let log = log.lock().unwrap();
    let around = |call: &str, outcome: &str| -> Vec<String> {
        let names = ["client 1", "client 2", "server 1", "server 2"];
        let before = names.iter().map(|name| format!("{name}: {call}"));
        let after = names.iter().rev().map(|name| format!("{name}: {outcome}"));
        before.chain(after).collect()
    };
    assert_eq!(log[..8], around("GetFeature Unary", "31 bytes"));
    assert_eq!(log[8..16], around("GetFeature Unary", "NOT_FOUND"));
    let seen = |call: &str| log.iter().filter(|line| line.ends_with(call)).count();
    assert_eq!(seen("ListFeatures ServerStreaming"), 4);
    // A request does not tell whether one reply will come or many.
    assert_eq!(seen("RecordRoute ClientStreaming"), 2);
    assert_eq!(seen("RecordRoute BidiStreaming"), 2);
    assert_eq!(seen("RouteChat BidiStreaming"), 4);
    assert_eq!(seen("a stream"), 8);
}

/// Changes all that can be changed.
struct Change;

impl Interceptor for Change {
    async fn intercept(&self, mut call: Invocation, next: Next) -> Result<Body> {
        match call.method() {
            "GetFeature" => {
                call.ctx.metadata_mut().set("tag", "changed");
                call.ctx = call.ctx.with_timeout(Duration::from_secs(7));
                call.body = Body::One(point(42, 0).write_to_bytes().unwrap().into());
                let Body::One(reply) = next.run(call).await? else {
                    panic!("a unary call has one reply");
                };
                let mut feature = Feature::parse_from_bytes(&reply).unwrap();
                feature.name += "!";
                Ok(Body::One(feature.write_to_bytes().unwrap().into()))
            }
            "ListFeatures" => {
                let Body::Stream(mut replies) = next.run(call).await? else {
                    panic!("a stream of replies");
                };
                Ok(Body::Stream(Streaming::produce(async move |doubled| {
                    while let Some(reply) = replies.message().await? {
                        doubled.send(reply.clone()).await?;
                        doubled.send(reply).await?;
                    }
                    Ok(())
                })))
            }
            _ => Err(Status::permission_denied("not today").into()),
        }
    }
}

#[tokio::test]
async fn an_interceptor_changes_what_passes_or_answers_itself() {
    struct Tell;
    impl RouteGuide for Tell {
        async fn get_feature(&self, ctx: &Context, request: Point) -> Result<Feature> {
            let tag = ctx.metadata().get("tag").unwrap_or("none");
            let bounded = ctx
                .time_left()
                .is_some_and(|left| left <= Duration::from_secs(7));
            Ok(Feature {
                name: format!("{} {tag} {bounded}", request.latitude),
                ..Feature::default()
            })
        }
        async fn list_features(&self, _: &Context, _: Rectangle) -> Result<Streaming<Feature>> {
            Ok(Streaming::from_iter([Feature::default()]))
        }
    }
    let ctx = Context::default();
    let at_client = connect_with(Client::builder().interceptor(Change), &serve(Tell).1).await;
    let (_, path) = serve_with(Server::builder().interceptor(Change), Tell);
    let at_server = connect_with(Client::builder(), &path).await;
    for client in [at_client, at_server] {
        let feature = client.get_feature(&ctx, point(1, 0)).await.unwrap();
        assert_eq!(feature.name, "42 changed true!");
        let mut features = client
            .list_features(&ctx, Rectangle::default())
            .await
            .unwrap();
        for _ in 0..2 {
            assert!(features.message().await.unwrap().is_some());
        }
        assert!(features.message().await.unwrap().is_none());
        let points = Streaming::from_iter([]);
        let error = client.record_route(&ctx, points).await.unwrap_err();
        assert_eq!(error.status().unwrap().message, "not today");
    }
}

#[tokio::test]
async fn behind_an_interceptor_a_panic_or_an_unknown_method_is_what_it_was() {
    struct Panic;
    impl RouteGuide for Panic {
        async fn get_feature(&self, _: &Context, _: Point) -> Result<Feature> {
            panic!("on purpose")
        }
    }
    let log = Log("", Arc::default());
    let (_, path) = serve_with(Server::builder().interceptor(log), Panic);
    let client = Client::connect(&path).await.unwrap();
    let ctx = Context::default();
    let call = RouteGuideClient::new(client.clone())
        .get_feature(&ctx, Point::default())
        .await;
    assert_eq!(call.unwrap_err().code(), Code::INTERNAL);
    let call: Result<Feature> = client
        .unary(
            Protobuf,
            &ctx,
            "routeguide.v1.RouteGuide",
            "Nothing",
            Point::default(),
        )
        .await;
    assert_eq!(call.unwrap_err().code(), Code::UNIMPLEMENTED);
}

#[tokio::test]
async fn a_handshake_lets_in_or_not_and_tells_handlers() {
    struct Who;
    impl RouteGuide for Who {
        async fn get_feature(&self, ctx: &Context, _: Point) -> Result<Feature> {
            let name = ctx.handshake::<String>().cloned().unwrap_or_default();
            assert!(ctx.handshake::<u32>().is_none());
            Ok(Feature {
                name,
                ..Feature::default()
            })
        }
    }
    let greet = Server::builder().handshake(|peer| {
        let peer = peer.ok_or_else(|| Status::unauthenticated("who is it?"))?;
        peer.require_same_user()?;
        Ok(format!("user {}", peer.uid().unwrap()))
    });
    let (server, path) = serve_with(greet, Who);
    let client = connect_with(Client::builder(), &path).await;
    let ctx = Context::default();
    let feature = client.get_feature(&ctx, Point::default()).await.unwrap();
    assert!(feature.name.starts_with("user "));
    // A pipe has no credentials.
    let (near, far) = tokio::io::duplex(100);
    let error = server.serve_connection(far).await.unwrap_err();
    assert_eq!(error.code(), Code::UNAUTHENTICATED);
    drop(near);

    let refuse = Server::builder().handshake(|peer| peer.unwrap().require_uid(u32::MAX));
    let (_, path) = serve_with(refuse, Who);
    let client = connect_with(Client::builder(), &path).await;
    let error = within(client.get_feature(&ctx, Point::default()))
        .await
        .unwrap_err();
    assert!(error.is_closed());
}

#[tokio::test]
async fn a_server_has_no_more_connections_than_it_is_given() {
    let (server, path) = serve_with(Server::builder().max_connections(2), Guide::default());
    let ctx = Context::default();
    let clients: Vec<_> = [(); 3]
        .map(|()| connect_with(Client::builder(), &path))
        .into();
    let mut connected = Vec::new();
    for client in clients {
        connected.push(client.await);
    }
    let at = point(525_186_200, 133_761_900);
    for client in &connected[..2] {
        client.get_feature(&ctx, at.clone()).await.unwrap();
    }
    let waiting = connected.pop().unwrap();
    let late = tokio::spawn(async move { waiting.get_feature(&Context::default(), at).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!late.is_finished());
    assert!(
        format!("{server:?}").contains("connections: 2"),
        "{server:?}"
    );
    connected.pop();
    within(late).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_has_a_timeout_and_metadata_for_every_call() {
    struct Tags;
    impl RouteGuide for Tags {
        async fn get_feature(&self, ctx: &Context, _: Point) -> Result<Feature> {
            let all: Vec<_> = ctx.metadata().iter().collect();
            let name = format!(
                "{all:?} {:?}",
                ctx.time_left().map(|left| left.as_secs() / 10)
            );
            Ok(Feature {
                name,
                ..Feature::default()
            })
        }
    }
    let builder = Client::builder()
        .timeout(Duration::from_secs(35))
        .metadata("Agent", "test")
        .metadata("zone", "a");
    let client = connect_with(builder, &serve(Tags).1).await;
    let name = async |ctx| {
        client
            .get_feature(&ctx, Point::default())
            .await
            .unwrap()
            .name
    };
    assert_eq!(
        name(Context::new()).await,
        r#"[("agent", "test"), ("zone", "a")] Some(3)"#
    );
    let mut own = Context::new().with_timeout(Duration::from_secs(55));
    own.metadata_mut().set("zone", "b");
    assert_eq!(
        name(own).await,
        r#"[("zone", "b"), ("agent", "test")] Some(5)"#
    );
}

#[tokio::test]
async fn a_client_learns_of_the_end_and_connects_again_if_told_to() {
    let path = socket();
    let ends = Arc::new(AtomicUsize::new(0));
    let start = || {
        let server = Server::builder()
            .service(RouteGuideServer::new(Guide::default()))
            .build()
            .unwrap();
        let (serving, listener) = (server.clone(), Listener::bind(&path).unwrap());
        let task = tokio::spawn(async move { serving.serve(listener).await });
        (server, task)
    };
    let (server, task) = start();
    let counted = Arc::clone(&ends);
    let client = Client::builder()
        .reconnect(true)
        .on_close(move |error| {
            assert!(error.is_closed());
            counted.fetch_add(1, Ordering::Relaxed);
        })
        .connect(&path)
        .await
        .unwrap();
    let guide = RouteGuideClient::new(client.clone());
    let ctx = Context::default();
    let call = || guide.get_feature(&ctx, point(525_186_200, 133_761_900));
    call().await.unwrap();

    let (reason, ()) = tokio::join!(within(client.closed()), async {
        server.close();
        task.await.unwrap().unwrap();
    });
    assert!(reason.is_closed());
    let error = call().await.unwrap_err();
    assert!(error.is_io(), "nobody listens: {error}");

    let (_server, _task) = start();
    call().await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(ends.load(Ordering::Relaxed), 1);
}

/// Handlers that tell when they are dropped.
struct Dropped(Arc<Notify>);

struct Tell(Arc<Notify>);

impl Drop for Tell {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl RouteGuide for Dropped {
    async fn get_feature(&self, _: &Context, _: Point) -> Result<Feature> {
        let _tell = Tell(Arc::clone(&self.0));
        std::future::pending().await
    }

    async fn route_chat(
        &self,
        _: &Context,
        notes: Streaming<RouteNote>,
    ) -> Result<Streaming<RouteNote>> {
        let tell = Tell(Arc::clone(&self.0));
        Ok(Streaming::produce(async move |replies| {
            let (_tell, _notes) = (tell, notes);
            replies.send(RouteNote::default()).await?;
            std::future::pending().await
        }))
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_ends_at_the_server_where_that_is_turned_on() {
    let dropped = Arc::new(Notify::new());
    let (_, path) = serve(Dropped(Arc::clone(&dropped)));
    let client = connect_with(Client::builder().send_cancel(true), &path).await;
    let ctx = Context::default();

    let call = client.get_feature(&ctx, Point::default());
    tokio::time::timeout(Duration::from_millis(50), call)
        .await
        .unwrap_err();
    within(dropped.notified()).await;

    let (_notes, requests) = Streaming::channel(1);
    let mut replies = client.route_chat(&ctx, requests).await.unwrap();
    assert!(replies.message().await.unwrap().is_some());
    drop(replies);
    within(dropped.notified()).await;

    let short = Context::new().with_timeout(Duration::from_millis(50));
    let error = client
        .get_feature(&short, Point::default())
        .await
        .unwrap_err();
    assert!(error.is_timeout());
    within(dropped.notified()).await;
}
