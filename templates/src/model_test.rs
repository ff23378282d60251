//! The templates do what generated code has to, before anything is generated.

use ttrpc_runtime::{Client, Code, Context, Result, Server, Status, Streaming};

use crate::asynchronous::{Model, ModelClient, ModelServer};
use crate::{Reply, Request};

/// Adds ten to whatever it gets.
struct Adder;

impl Model for Adder {
    async fn unary(&self, _: &Context, request: Request) -> Result<Reply> {
        match request.0 {
            0 => Err(Status::invalid_argument("zero").into()),
            n => Ok(Reply(n + 10)),
        }
    }

    async fn server_stream(&self, _: &Context, request: Request) -> Result<Streaming<Reply>> {
        Ok(Streaming::from_iter((0..request.0).map(Reply)))
    }

    async fn client_stream(&self, _: &Context, mut requests: Streaming<Request>) -> Result<Reply> {
        let mut sum = 0;
        while let Some(request) = requests.message().await? {
            sum += request.0;
        }
        Ok(Reply(sum))
    }

    async fn bidi(
        &self,
        _: &Context,
        mut requests: Streaming<Request>,
    ) -> Result<Streaming<Reply>> {
        Ok(Streaming::produce(async move |replies| {
            while let Some(request) = requests.message().await? {
                replies.send(Reply(request.0 + 10)).await?;
            }
            Ok(())
        }))
    }
}

/// Implements nothing.
struct Nothing;

impl Model for Nothing {}

fn serve(service: impl Model) -> ModelClient {
    let (here, there) = tokio::io::duplex(1 << 16);
    let server = Server::builder()
        .service(ModelServer::new(service))
        .build()
        .unwrap();
    tokio::spawn(async move { server.serve_connection(there).await });
    ModelClient::new(Client::new(here))
}

async fn collect(mut replies: Streaming<Reply>) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(reply) = replies.message().await.unwrap() {
        all.push(reply.0);
    }
    all
}

#[tokio::test]
async fn all_four_kinds() {
    let client = serve(Adder);
    let ctx = Context::default();
    assert_eq!(client.unary(&ctx, Request(5)).await.unwrap(), Reply(15));
    let error = client.unary(&ctx, Request(0)).await.unwrap_err();
    assert_eq!(error.status(), Some(&Status::invalid_argument("zero")));

    let replies = client.server_stream(&ctx, Request(4)).await.unwrap();
    assert_eq!(collect(replies).await, [0, 1, 2, 3]);

    let requests = Streaming::from_iter((1..=5).map(Request));
    assert_eq!(
        client.client_stream(&ctx, requests).await.unwrap(),
        Reply(15)
    );

    let (sender, requests) = Streaming::channel(1);
    let mut replies = client.bidi(&ctx, requests).await.unwrap();
    for n in 1..5 {
        sender.send(Request(n)).await.unwrap();
        assert_eq!(replies.message().await.unwrap(), Some(Reply(n + 10)));
    }
    drop(sender);
    assert_eq!(replies.message().await.unwrap(), None);
}

#[tokio::test]
async fn what_is_not_implemented_says_so() {
    let client = serve(Nothing);
    let ctx = Context::default();
    let error = client.unary(&ctx, Request(1)).await.unwrap_err();
    assert_eq!(error.code(), Code::UNIMPLEMENTED);
    assert_eq!(
        error.status().unwrap().message,
        "model.Model does not implement Unary"
    );
    let mut replies = client.bidi(&ctx, Streaming::from_iter([])).await.unwrap();
    let error = replies.message().await.unwrap_err();
    assert_eq!(error.code(), Code::UNIMPLEMENTED);
}

/// The service without a socket is the same service.
#[tokio::test]
async fn an_implementation_is_called_like_a_client() {
    let requests = Streaming::from_iter([Request(1), Request(2)]);
    let replies = Adder.bidi(&Context::default(), requests).await.unwrap();
    assert_eq!(collect(replies).await, [11, 12]);
}
