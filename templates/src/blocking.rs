#[doc = "Model"]
pub trait Model: ::core::marker::Send + ::core::marker::Sync + 'static {
    #[doc = "Rpc"]
    fn unary(
        &self,
        ctx: &::ttrpc_runtime::Context,
        request: super::Request,
    ) -> ::ttrpc_runtime::Result<super::Reply> {
        let _ = (ctx, request);
        ::ttrpc_runtime::blocking::unimplemented("model.Model", "Unary")
    }

    #[doc = "Rpc"]
    fn server_stream(
        &self,
        ctx: &::ttrpc_runtime::Context,
        request: super::Request,
    ) -> ::ttrpc_runtime::Result<::ttrpc_runtime::blocking::Streaming<super::Reply>> {
        let _ = (ctx, request);
        ::ttrpc_runtime::blocking::unimplemented("model.Model", "ServerStream")
    }

    #[doc = "Rpc"]
    fn client_stream(
        &self,
        ctx: &::ttrpc_runtime::Context,
        requests: ::ttrpc_runtime::blocking::Streaming<super::Request>,
    ) -> ::ttrpc_runtime::Result<super::Reply> {
        let _ = (ctx, requests);
        ::ttrpc_runtime::blocking::unimplemented("model.Model", "ClientStream")
    }

    #[doc = "Rpc"]
    fn bidi(
        &self,
        ctx: &::ttrpc_runtime::Context,
        requests: ::ttrpc_runtime::blocking::Streaming<super::Request>,
    ) -> ::ttrpc_runtime::Result<::ttrpc_runtime::blocking::Streaming<super::Reply>> {
        let _ = (ctx, requests);
        ::ttrpc_runtime::blocking::unimplemented("model.Model", "Bidi")
    }
}

/// Calls `model.Model` over a connection; a clone shares that connection.
#[doc = ""]
#[doc = "Model"]
#[derive(Clone, Debug)]
pub struct ModelClient {
    client: ::ttrpc_runtime::blocking::Client,
}

// A program may use only the client or only the server.
#[allow(dead_code)]
impl ModelClient {
    /// For [`start`](::ttrpc_runtime::blocking::Client::start).
    #[doc = ""]
    #[doc = "Rpc"]
    pub const UNARY: ::ttrpc_runtime::blocking::Method<
        super::ModelCodec,
        super::Request,
        super::Reply,
    > = ::ttrpc_runtime::blocking::Method::new("model.Model", "Unary");

    /// A client that calls over the connection of `client`.
    pub fn new(client: ::ttrpc_runtime::blocking::Client) -> Self {
        Self { client }
    }
}

impl Model for ModelClient {
    fn unary(
        &self,
        ctx: &::ttrpc_runtime::Context,
        request: super::Request,
    ) -> ::ttrpc_runtime::Result<super::Reply> {
        self.client
            .unary(super::ModelCodec, ctx, "model.Model", "Unary", request)
    }

    fn server_stream(
        &self,
        ctx: &::ttrpc_runtime::Context,
        request: super::Request,
    ) -> ::ttrpc_runtime::Result<::ttrpc_runtime::blocking::Streaming<super::Reply>> {
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
        requests: ::ttrpc_runtime::blocking::Streaming<super::Request>,
    ) -> ::ttrpc_runtime::Result<super::Reply> {
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
        requests: ::ttrpc_runtime::blocking::Streaming<super::Request>,
    ) -> ::ttrpc_runtime::Result<::ttrpc_runtime::blocking::Streaming<super::Reply>> {
        self.client
            .bidi_streaming(super::ModelCodec, ctx, "model.Model", "Bidi", requests)
    }
}

/// Serves an implementation of `model.Model`; give it to a
/// [`Server`](::ttrpc_runtime::blocking::Server).
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

impl<ModelImpl: Model> ::ttrpc_runtime::blocking::Service for ModelServer<ModelImpl> {
    fn name(&self) -> &'static str {
        "model.Model"
    }

    fn call(&self, call: ::ttrpc_runtime::blocking::Call) -> ::ttrpc_runtime::blocking::Reply {
        let service = ::std::sync::Arc::clone(&self.service);
        match call.method_bytes() {
            b"Unary" => call.unary(super::ModelCodec, move |ctx, request| {
                Model::unary(&*service, &ctx, request)
            }),
            b"ServerStream" => call.server_streaming(super::ModelCodec, move |ctx, request| {
                Model::server_stream(&*service, &ctx, request)
            }),
            b"ClientStream" => call.client_streaming(super::ModelCodec, move |ctx, requests| {
                Model::client_stream(&*service, &ctx, requests)
            }),
            b"Bidi" => call.bidi_streaming(super::ModelCodec, move |ctx, requests| {
                Model::bidi(&*service, &ctx, requests)
            }),
            _ => call.unimplemented(),
        }
    }
}
