//! A shim for containerd, served and called: by our client, and by the one that
//! containerd's Rust users have today.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use protobuf::well_known_types::any;
use ttrpc_containerd::event::Envelope;
use ttrpc_containerd::events::ForwardRequest;
use ttrpc_containerd::events_ttrpc::{Events, EventsClient, EventsServer};
use ttrpc_containerd::sandbox::{SandboxStatusRequest, SandboxStatusResponse};
use ttrpc_containerd::sandbox_ttrpc::{Sandbox, SandboxClient, SandboxServer};
use ttrpc_containerd::shim::{
    ConnectRequest, ConnectResponse, StateRequest, StateResponse, WaitRequest, WaitResponse,
};
use ttrpc_containerd::shim_ttrpc::{Task, TaskClient, TaskServer};
use ttrpc_containerd::task;
use ttrpc_runtime::{Any, Client, Code, Context, Listener, Result, Server, Status};

struct Shim;

impl Task for Shim {
    async fn connect(&self, _: &Context, request: ConnectRequest) -> Result<ConnectResponse> {
        Ok(ConnectResponse {
            shim_pid: std::process::id(),
            task_pid: 7,
            version: format!("v2 of {}", request.id),
            ..ConnectResponse::default()
        })
    }

    async fn state(&self, _: &Context, request: StateRequest) -> Result<StateResponse> {
        if request.id != "c1" {
            let hint = any::Any {
                type_url: "types.containerd.io/hint".into(),
                value: b"try c1".to_vec(),
                ..any::Any::default()
            };
            return Err(Status::not_found(format!("no container {:?}", request.id))
                .with_detail(hint)
                .into());
        }
        Ok(StateResponse {
            id: request.id,
            pid: 7,
            status: task::Status::RUNNING.into(),
            ..StateResponse::default()
        })
    }

    async fn wait(&self, ctx: &Context, _: WaitRequest) -> Result<WaitResponse> {
        assert!(ctx.deadline().is_some());
        std::future::pending().await
    }
}

impl Sandbox for Shim {
    async fn sandbox_status(
        &self,
        _: &Context,
        request: SandboxStatusRequest,
    ) -> Result<SandboxStatusResponse> {
        Ok(SandboxStatusResponse {
            sandbox_id: request.sandbox_id,
            state: "SANDBOX_READY".into(),
            ..SandboxStatusResponse::default()
        })
    }
}

impl Events for Shim {
    async fn forward(
        &self,
        _: &Context,
        request: ForwardRequest,
    ) -> Result<protobuf::well_known_types::empty::Empty> {
        match request.envelope.topic.as_str() {
            "/tasks/exit" => Ok(Default::default()),
            topic => Err(Status::invalid_argument(format!("topic {topic}")).into()),
        }
    }
}

/// Serves all three services on one socket, as a shim does.
fn serve() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("ttrpc-shim-{}-{next}.sock", std::process::id()));
    let server = Server::builder()
        .service(TaskServer::new(Shim))
        .service(SandboxServer::new(Shim))
        .service(EventsServer::new(Shim))
        .build()
        .unwrap();
    let listener = Listener::bind(&path).unwrap();
    tokio::spawn(async move { server.serve(listener).await });
    path
}

#[tokio::test]
async fn our_client() {
    let client = Client::connect(&serve()).await.unwrap();
    let task = TaskClient::new(client.clone());
    let ctx = Context::default();

    let request = ConnectRequest {
        id: "c1".into(),
        ..ConnectRequest::default()
    };
    let reply = task.connect(&ctx, request).await.unwrap();
    assert_eq!((reply.task_pid, reply.version.as_str()), (7, "v2 of c1"));

    let state = |id: &str| StateRequest {
        id: id.into(),
        ..StateRequest::default()
    };
    let reply = task.state(&ctx, state("c1")).await.unwrap();
    assert_eq!(reply.status.enum_value(), Ok(task::Status::RUNNING));

    let error = task.state(&ctx, state("c2")).await.unwrap_err();
    let expected = Status::not_found("no container \"c2\"").with_detail(Any {
        type_url: "types.containerd.io/hint".into(),
        value: b"try c1"[..].into(),
    });
    assert_eq!(error.status(), Some(&expected));

    let short = Context::new().with_timeout(Duration::from_millis(50));
    let error = task.wait(&short, WaitRequest::default()).await.unwrap_err();
    assert!(error.is_timeout());

    let error = task.kill(&ctx, Default::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::UNIMPLEMENTED);

    let request = SandboxStatusRequest {
        sandbox_id: "s1".into(),
        ..SandboxStatusRequest::default()
    };
    let reply = SandboxClient::new(client.clone())
        .sandbox_status(&ctx, request)
        .await
        .unwrap();
    assert_eq!(
        (reply.sandbox_id.as_str(), reply.state.as_str()),
        ("s1", "SANDBOX_READY")
    );

    let request = ForwardRequest {
        envelope: Some(Envelope {
            topic: "/tasks/exit".into(),
            ..Envelope::default()
        })
        .into(),
        ..ForwardRequest::default()
    };
    EventsClient::new(client)
        .forward(&ctx, request)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_that_shims_are_called_with_today() {
    use containerd_shim_protos::ttrpc::context::{Context, with_timeout};
    use containerd_shim_protos::{Client, TaskClient, api};

    let path = serve();
    tokio::task::spawn_blocking(move || {
        let client = Client::connect(&format!("unix://{}", path.display())).unwrap();
        let task = TaskClient::new(client);

        let request = api::ConnectRequest {
            id: "c1".into(),
            ..Default::default()
        };
        let reply = task.connect(Context::default(), &request).unwrap();
        assert_eq!(reply.version, "v2 of c1");

        let request = api::StateRequest {
            id: "c2".into(),
            ..Default::default()
        };
        let error = task.state(Context::default(), &request).unwrap_err();
        let text = error.to_string();
        for part in ["NOT_FOUND", "no container", "types.containerd.io/hint"] {
            assert!(text.contains(part), "{text}");
        }

        let timeout = Duration::from_millis(100).as_nanos() as i64;
        task.wait(with_timeout(timeout), &api::WaitRequest::new())
            .unwrap_err();
        // The connection has survived all that.
        task.connect(Context::default(), &api::ConnectRequest::new())
            .unwrap();
    })
    .await
    .unwrap();
}
