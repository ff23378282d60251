#[doc = "Model"]
pub trait Model: ::core::marker::Send + ::core::marker::Sync + 'static {
    #[doc = "Rpc"]
    fn unary(
        &self,
        ctx: &::ttrpc_runtime::Context,
        request: super::Request,
    ) -> impl ::core::future::Future<Output = ::ttrpc_runtime::Result<super::Reply>> + ::core::marker::Send
    {
        let _ = (ctx, request);
        ::ttrpc_runtime::unimplemented("model.Model", "Unary")
    }

    #[doc = "Rpc"]
    fn server_stream(
        &self,
        ctx: &::ttrpc_runtime::Context,
        request: super::Request,
    ) -> impl ::core::future::Future<
        Output = ::ttrpc_runtime::Result<::ttrpc_runtime::Streaming<super::Reply>>,
    > + ::core::marker::Send {
        let _ = (ctx, request);
        ::ttrpc_runtime::unimplemented("model.Model", "ServerStream")
    }

    #[doc = "Rpc"]
    fn client_stream(
        &self,
        ctx: &::ttrpc_runtime::Context,
        requests: ::ttrpc_runtime::Streaming<super::Request>,
    ) -> impl ::core::future::Future<Output = ::ttrpc_runtime::Result<super::Reply>> + ::core::marker::Send
    {
        let _ = (ctx, requests);
        ::ttrpc_runtime::unimplemented("model.Model", "ClientStream")
    }

    #[doc = "Rpc"]
    fn bidi(
        &self,
        ctx: &::ttrpc_runtime::Context,
        requests: ::ttrpc_runtime::Streaming<super::Request>,
    ) -> impl ::core::future::Future<
        Output = ::ttrpc_runtime::Result<::ttrpc_runtime::Streaming<super::Reply>>,
    > + ::core::marker::Send {
        let _ = (ctx, requests);
        ::ttrpc_runtime::unimplemented("model.Model", "Bidi")
    }
}

/// Calls `model.Model` over a connection; a clone shares that connection.
#[doc = ""]
#[doc = "Model"]
#[derive(Clone, Debug)]
pub struct ModelClient {
    client: ::ttrpc_runtime::Client,
}

// A program may use only the client or only the server.
#[allow(dead_code)]
impl ModelClient {
    /// A client that calls over the connection of `client`.
    pub fn new(client: ::ttrpc_runtime::Client) -> Self {
        Self { client }
    }
}

impl Model for ModelClient {
    fn unary(
        &self,
        ctx: &::ttrpc_runtime::Context,
        request: super::Request,
    ) -> impl ::core::future::Future<Output = ::ttrpc_runtime::Result<super::Reply>> + ::core::marker::Send
    {
        self.client
            .unary(super::ModelCodec, ctx, "model.Model", "Unary", request)
    }

    fn server_stream(
        &self,
        ctx: &::ttrpc_runtime::Context,
        request: super::Request,
    ) -> impl ::core::future::Future<
        Output = ::ttrpc_runtime::Result<::ttrpc_runtime::Streaming<super::Reply>>,
    > + ::core::marker::Send {
        self.client.server_streaming(
            super::ModelCodec,
            ctx,
            "model.Model",
            "ServerStream",
            request,
        )
    }

    fn client_stream(
        &self,
        ctx: &::ttrpc_runtime::Context,
        requests: ::ttrpc_runtime::Streaming<super::Request>,
    ) -> impl ::core::future::Future<Output = ::ttrpc_runtime::Result<super::Reply>> + ::core::marker::Send
    {
        self.client.client_streaming(
            super::ModelCodec,
            ctx,
            "model.Model",
            "ClientStream",
            requests,
        )
    }

    fn bidi(
        &self,
        ctx: &::ttrpc_runtime::Context,
        requests: ::ttrpc_runtime::Streaming<super::Request>,
    ) -> impl ::core::future::Future<
        Output = ::ttrpc_runtime::Result<::ttrpc_runtime::Streaming<super::Reply>>,
    > + ::core::marker::Send {
        self.client
            .bidi_streaming(super::ModelCodec, ctx, "model.Model", "Bidi", requests)
    }
}

/// Serves an implementation of `model.Model`; give it to a
/// [`Server`](::ttrpc_runtime::Server).
#[doc = ""]
#[doc = "Model"]
#[derive(Debug)]
pub struct ModelServer<ModelImpl> {
    service: ::std::sync::Arc<ModelImpl>,
}

#[allow(dead_code)]
impl<ModelImpl: Model> ModelServer<ModelImpl> {
    /// Serves `service`.
    pub fn new(service: ModelImpl) -> Self {
        Self::from_arc(::std::sync::Arc::new(service))
    }

    /// Serves a `service` that is shared with others.
    pub fn from_arc(service: ::std::sync::Arc<ModelImpl>) -> Self {
        Self { service }
    }
}

impl<ModelImpl: Model> ::ttrpc_runtime::Service for ModelServer<ModelImpl> {
    fn name(&self) -> &'static str {
        "model.Model"
    }

    fn call(&self, call: ::ttrpc_runtime::Call) -> ::ttrpc_runtime::Reply {
        let service = ::std::sync::Arc::clone(&self.service);
        match call.method_bytes() {
            b"Unary" => call.unary(super::ModelCodec, async move |ctx, request| {
                Model::unary(&*service, &ctx, request).await
            }),
            b"ServerStream" => call
                .server_streaming(super::ModelCodec, async move |ctx, request| {
                    Model::server_stream(&*service, &ctx, request).await
                }),
            b"ClientStream" => call
                .client_streaming(super::ModelCodec, async move |ctx, requests| {
                    Model::client_stream(&*service, &ctx, requests).await
                }),
            b"Bidi" => call.bidi_streaming(super::ModelCodec, async move |ctx, requests| {
                Model::bidi(&*service, &ctx, requests).await
            }),
            _ => call.unimplemented(),
        }
    }
}
