//! How calls end otherwise than well: errors, deadlines, cancellation, lost connections.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use support::{connect, serve};
use tokio::sync::Notify;
use ttrpc_demo::{
    Feature, Guide, Point, Rectangle, RouteGuide, RouteGuideClient, RouteGuideServer, RouteNote,
    RouteSummary, point,
};
use ttrpc_runtime::{
    Any, Client, Code, Context, Error, Listener, Result, Server, Status, Streaming,
};

/// What a handler of `Waiting` has seen.
#[derive(Default)]
struct Seen {
    started: Notify,
    cancelled: Notify,
    finished: AtomicUsize,
}

/// Handlers that wait for the end of their call.
struct Waiting(Arc<Seen>);

impl Waiting {
    fn new() -> (Self, Arc<Seen>) {
        let seen = Arc::<Seen>::default();
        (Self(Arc::clone(&seen)), seen)
    }

    /// Tells when the context is cancelled, from a task that outlives the handler.
    fn watch(&self, ctx: &Context) {
        let (ctx, seen) = (ctx.clone(), Arc::clone(&self.0));
        tokio::spawn(async move {
            ctx.cancelled().await;
            seen.cancelled.notify_one();
        });
        self.0.started.notify_one();
    }
}

impl RouteGuide for Waiting {
    async fn get_feature(&self, ctx: &Context, request: Point) -> Result<Feature> {
        self.watch(ctx);
        tokio::time::sleep(Duration::from_millis(request.latitude as u64)).await;
        self.0.finished.fetch_add(1, Ordering::Relaxed);
        Ok(Feature::default())
    }

    async fn list_features(&self, ctx: &Context, _: Rectangle) -> Result<Streaming<Feature>> {
        self.watch(ctx);
        let ctx = ctx.clone();
        Ok(Streaming::produce(async move |features| {
            features.send(Feature::default()).await?;
            ctx.cancelled().await;
            Ok(())
        }))
    }

    async fn record_route(
        &self,
        ctx: &Context,
        mut points: Streaming<Point>,
    ) -> Result<RouteSummary> {
        self.watch(ctx);
        while points.message().await?.is_some() {}
        std::future::pending().await
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("it never came")
}

#[tokio::test]
async fn a_status_arrives_with_its_details() {
    struct Failing;
    impl RouteGuide for Failing {
        async fn get_feature(&self, _: &Context, _: Point) -> Result<Feature> {
            let detail = Any {
                type_url: "type.googleapis.com/routeguide.v1.Point".into(),
                value: b"\x08\x01"[..].into(),
            };
            Err(Status::new(Code(77), "schön kaputt")
                .with_detail(detail)
                .into())
        }
        async fn record_route(&self, _: &Context, _: Streaming<Point>) -> Result<RouteSummary> {
            Err(std::io::Error::from(std::io::ErrorKind::PermissionDenied).into())
        }
        async fn route_chat(
            &self,
            _: &Context,
            _: Streaming<RouteNote>,
        ) -> Result<Streaming<RouteNote>> {
            Ok(Streaming::produce(async move |notes| {
                notes.send(RouteNote::default()).await?;
                Err(Status::aborted("in the middle").into())
            }))
        }
    }
    let client = connect(Failing).await;
    let ctx = Context::default();
    let error = client
        .get_feature(&ctx, Point::default())
        .await
        .unwrap_err();
    let status = error.status().unwrap();
    assert_eq!((status.code, &*status.message), (Code(77), "schön kaputt"));
    assert_eq!(status.details[0].value, b"\x08\x01"[..]);

    let points = Streaming::from_iter([]);
    let error = client.record_route(&ctx, points).await.unwrap_err();
    assert_eq!(error.code(), Code::PERMISSION_DENIED);

    let notes = Streaming::from_iter([]);
    let mut replies = client.route_chat(&ctx, notes).await.unwrap();
    assert!(replies.message().await.unwrap().is_some());
    let error = replies.message().await.unwrap_err();
    assert_eq!(error.status().unwrap().message, "in the middle");
    assert!(replies.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_handler_that_panics_fails_its_call_alone() {
    struct Panicking;
    impl RouteGuide for Panicking {
        async fn get_feature(&self, _: &Context, request: Point) -> Result<Feature> {
            match request.latitude {
                0 => panic!("at once"),
                1 => {
                    tokio::task::yield_now().await;
                    panic!("later")
                }
                _ => Ok(Feature::default()),
            }
        }
        async fn route_chat(
            &self,
            _: &Context,
            _: Streaming<RouteNote>,
        ) -> Result<Streaming<RouteNote>> {
            Ok(Streaming::from_iter((0..).map(|n| match n {
                0 => RouteNote::default(),
                _ => panic!("within an iterator"),
            })))
        }
        async fn list_features(&self, _: &Context, _: Rectangle) -> Result<Streaming<Feature>> {
            let (features, stream) = Streaming::channel(1);
            tokio::spawn(async move {
                features.send(Feature::default()).await.unwrap();
                panic!("with a sender in hand")
            });
            Ok(stream)
        }
    }
    let client = connect(Panicking).await;
    let ctx = Context::default();
    for n in [0, 1] {
        let error = client.get_feature(&ctx, point(n, 0)).await.unwrap_err();
        assert_eq!(error.code(), Code::INTERNAL);
    }
    let mut features = client
        .list_features(&ctx, Rectangle::default())
        .await
        .unwrap();
    assert!(features.message().await.unwrap().is_some());
    let error = features.message().await.unwrap_err();
    assert_eq!(error.code(), Code::INTERNAL);
    let notes = Streaming::from_iter([]);
    let mut replies = client.route_chat(&ctx, notes).await.unwrap();
    assert!(replies.message().await.unwrap().is_some());
    let error = replies.message().await.unwrap_err();
    assert_eq!(error.code(), Code::INTERNAL);
    client.get_feature(&ctx, point(2, 0)).await.unwrap();
}

#[tokio::test]
async fn a_deadline_ends_a_unary_call_and_its_handler() {
    let (service, seen) = Waiting::new();
    let client = connect(service).await;
    let ctx = Context::new().with_timeout(Duration::from_millis(50));
    let error = within(client.get_feature(&ctx, point(60_000, 0)))
        .await
        .unwrap_err();
    assert!(error.is_timeout());
    within(seen.cancelled.notified()).await;
    assert_eq!(seen.finished.load(Ordering::Relaxed), 0);
    // Past the deadline nothing is even sent.
    let error = client.get_feature(&ctx, point(0, 0)).await.unwrap_err();
    assert!(error.is_timeout());
    client
        .get_feature(&Context::default(), point(0, 0))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_context_ends_when_its_handler_has_returned() {
    let (service, seen) = Waiting::new();
    let client = connect(service).await;
    let ctx = Context::default();
    for wait in [0, 5] {
        client.get_feature(&ctx, point(wait, 0)).await.unwrap();
        within(seen.cancelled.notified()).await;
    }
}

#[tokio::test]
async fn a_deadline_ends_streams() {
    let (service, seen) = Waiting::new();
    let client = connect(service).await;
    let ctx = Context::new().with_timeout(Duration::from_millis(400));
    let mut features = client
        .list_features(&ctx, Rectangle::default())
        .await
        .unwrap();
    assert!(within(features.message()).await.unwrap().is_some());
    assert!(within(features.message()).await.unwrap_err().is_timeout());
    within(seen.cancelled.notified()).await;

    let ctx = Context::new().with_timeout(Duration::from_millis(400));
    let (_points, stream) = Streaming::channel(1);
    let error = within(client.record_route(&ctx, stream)).await.unwrap_err();
    assert!(error.is_timeout());
    within(seen.cancelled.notified()).await;
}

#[tokio::test]
async fn what_a_handler_is_given_reaches_the_next_server() {
    struct Inspect;
    impl RouteGuide for Inspect {
        async fn get_feature(&self, ctx: &Context, _: Point) -> Result<Feature> {
            let left = ctx
                .time_left()
                .ok_or_else(|| Status::internal("no deadline"))?;
            let peer = ctx.peer().ok_or_else(|| Status::internal("no peer"))?;
            assert!(left > Duration::from_secs(30) && left <= Duration::from_secs(60));
            assert_eq!(peer.pid(), Some(std::process::id() as i32));
            let tags: Vec<_> = ctx.metadata().get_all("tag").collect();
            Ok(Feature {
                name: tags.join(","),
                ..Feature::default()
            })
        }
    }
    struct Forward(RouteGuideClient);
    impl RouteGuide for Forward {
        async fn get_feature(&self, ctx: &Context, request: Point) -> Result<Feature> {
            self.0.get_feature(ctx, request).await
        }
    }
    let client = connect(Forward(connect(Inspect).await)).await;
    let mut ctx = Context::new().with_timeout(Duration::from_secs(60));
    ctx.metadata_mut().append("Tag", "a");
    ctx.metadata_mut().append("tag", "b");
    let feature = client.get_feature(&ctx, Point::default()).await.unwrap();
    assert_eq!(feature.name, "a,b");
}

#[tokio::test]
async fn a_caller_can_give_up_by_context_or_by_dropping() {
    let (service, _) = Waiting::new();
    let client = connect(service).await;
    let (ctx, canceller) = Context::new().with_cancel();
    let (unary, mut stream) = (
        client.get_feature(&ctx, point(60_000, 0)),
        client
            .list_features(&ctx, Rectangle::default())
            .await
            .unwrap(),
    );
    assert!(within(stream.message()).await.unwrap().is_some());
    let (unary, ()) = tokio::join!(within(unary), async {
        tokio::task::yield_now().await;
        canceller.cancel();
    });
    assert!(unary.unwrap_err().is_cancelled());
    assert!(within(stream.message()).await.unwrap_err().is_cancelled());

    // Dropped: the connection goes on.
    let dropped = client.get_feature(&ctx, point(60_000, 0));
    drop(dropped);
    let ctx = Context::default();
    drop(
        client
            .list_features(&ctx, Rectangle::default())
            .await
            .unwrap(),
    );
    client.get_feature(&ctx, point(0, 0)).await.unwrap();
}

#[tokio::test]
async fn a_vanished_client_cancels_its_handlers() {
    let (service, seen) = Waiting::new();
    let (_, path) = serve(service);
    let client = Client::connect(&path).await.unwrap();
    let guide = RouteGuideClient::new(client);
    let ctx = Context::default();
    let mut features = guide
        .list_features(&ctx, Rectangle::default())
        .await
        .unwrap();
    features.message().await.unwrap();
    drop((features, guide));
    within(seen.cancelled.notified()).await;
}

#[tokio::test]
async fn a_vanished_server_fails_every_call_as_closed() {
    let (service, seen) = Waiting::new();
    let (server, path) = serve(service);
    let client = RouteGuideClient::new(Client::connect(&path).await.unwrap());
    let ctx = Context::default();
    let mut features = client
        .list_features(&ctx, Rectangle::default())
        .await
        .unwrap();
    assert!(features.message().await.unwrap().is_some());
    let (_points, stream) = Streaming::channel(1);
    let (unary, upload, ()) = tokio::join!(
        within(client.get_feature(&ctx, point(60_000, 0))),
        within(client.record_route(&ctx, stream)),
        async {
            for _ in 0..2 {
                within(seen.started.notified()).await;
            }
            server.close();
        }
    );
    for error in [
        unary.unwrap_err(),
        upload.unwrap_err(),
        within(features.message()).await.unwrap_err(),
        client.get_feature(&ctx, point(0, 0)).await.unwrap_err(),
    ] {
        assert!(error.is_closed(), "{error}");
        assert_eq!(error.code(), Code::UNAVAILABLE);
    }
}

#[tokio::test]
async fn a_graceful_shutdown_loses_no_call_and_refuses_new_ones() {
    let (service, seen) = Waiting::new();
    let (server, path) = serve(service);
    let client = RouteGuideClient::new(Client::connect(&path).await.unwrap());
    let ctx = Context::default();
    let running = client.get_feature(&ctx, point(150, 0));
    let (running, ()) = tokio::join!(within(running), async {
        within(seen.started.notified()).await;
        let (late, ()) = tokio::join!(
            async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                client.get_feature(&ctx, point(0, 0)).await
            },
            server.shutdown(Duration::from_secs(20)),
        );
        assert_eq!(late.unwrap_err().code(), Code::UNAVAILABLE);
    });
    running.unwrap();
    assert!(!path.exists(), "the socket's file is removed");
    assert!(Client::connect(&path).await.unwrap_err().is_io());
    // It can be listened on again.
    let server = Server::builder().build().unwrap();
    let listener = Listener::bind(&path).unwrap();
    tokio::spawn(async move { server.serve(listener).await });
    let client = RouteGuideClient::new(Client::connect(&path).await.unwrap());
    let error = client.get_feature(&ctx, point(0, 0)).await.unwrap_err();
    assert_eq!(error.code(), Code::UNIMPLEMENTED);
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_ever() {
    let (service, seen) = Waiting::new();
    let (server, path) = serve(service);
    let client = RouteGuideClient::new(Client::connect(&path).await.unwrap());
    let ctx = Context::default();
    let (call, ()) = tokio::join!(within(client.get_feature(&ctx, point(60_000, 0))), async {
        within(seen.started.notified()).await;
        within(server.shutdown(Duration::from_millis(20))).await;
    });
    assert!(call.unwrap_err().is_closed());
}

/// The server must not take what has come of it for all there is.
#[tokio::test]
async fn an_upload_that_is_given_up_does_not_end_as_if_it_were_whole() {
    struct Upload(Arc<Seen>);
    impl RouteGuide for Upload {
        async fn record_route(
            &self,
            _: &Context,
            mut points: Streaming<Point>,
        ) -> Result<RouteSummary> {
            while points.message().await?.is_some() {
                self.0.started.notify_one();
            }
            self.0.finished.fetch_add(1, Ordering::Relaxed);
            Ok(RouteSummary::default())
        }
        async fn get_feature(&self, _: &Context, _: Point) -> Result<Feature> {
            Ok(Feature::default())
        }
    }
    let seen = Arc::<Seen>::default();
    let client = connect(Upload(Arc::clone(&seen))).await;
    let ctx = Context::default();
    let points = Streaming::produce(async move |points| {
        points.send(Point::default()).await?;
        std::future::pending().await
    });
    tokio::select! {
        _ = client.record_route(&ctx, points) => panic!("it never ends"),
        () = within(seen.started.notified()) => {}
    }
    for _ in 0..3 {
        client.get_feature(&ctx, point(0, 0)).await.unwrap();
    }
    assert_eq!(seen.finished.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_error_in_the_requests_is_the_callers() {
    let (service, _) = Waiting::new();
    let client = connect(service).await;
    let failing = || {
        Streaming::produce(async move |points| {
            points.send(Point::default()).await?;
            Err(Error::from(Status::data_loss("no more film")))
        })
    };
    let ctx = Context::default();
    let error = within(client.record_route(&ctx, failing()))
        .await
        .unwrap_err();
    assert_eq!(error.status().unwrap().message, "no more film");
}

#[test]
fn two_services_of_one_name_are_refused() {
    let error = Server::builder()
        .service(RouteGuideServer::new(Guide::default()))
        .service(RouteGuideServer::new(Guide::default()))
        .build()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "ALREADY_EXISTS: two services are named routeguide.v1.RouteGuide: a server can have \
         only one of them"
    );
}

#[tokio::test]
async fn an_address_in_use_and_one_that_nobody_listens_at() {
    let (_server, path) = serve(Guide::default());
    let error = Listener::bind(&path).unwrap_err();
    assert!(
        error.to_string().starts_with("can't listen at unix:///"),
        "{error}"
    );
    let error = Client::connect("unix:///nowhere/at.all").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "can't connect to unix:///nowhere/at.all: No such file or directory (os error 2)"
    );
}

/// What a killed server has left behind is no obstacle to the next one.
#[tokio::test]
async fn a_stale_socket_is_replaced() {
    let path = support::socket();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(Listener::bind(&path).unwrap());
    assert!(!path.exists());
    std::fs::write(&path, "not a socket").unwrap();
    Listener::bind(&path).unwrap_err();
    std::fs::remove_file(&path).unwrap();
}
