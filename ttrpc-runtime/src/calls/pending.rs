//! A unary call that is made now and waited for later.

use std::borrow::Cow;

use super::call::OpenCall;
use super::{Calls, Rpc};
use crate::codec::{Codec, CodecError, Encoded, Payload, to_bytes};
use crate::context::Context;
use crate::envelope::Slice;
use crate::error::Result;
use crate::interceptor::Body;
use crate::proto::CallKind;

/// A unary call that was made. Dropping it gives it up.
pub(crate) struct Pending<Rep> {
    call: Result<Call>,
    decode: fn(Slice) -> Result<Rep, CodecError>,
}

/// What a call that was made has come to.
enum Call {
    Open(OpenCall<'static>),
    Replied(Slice),
}

impl<Rep> Pending<Rep> {
    /// Waits for the reply.
    ///
    /// # Errors
    /// The call could not be made, or has failed.
    pub(crate) async fn reply(self) -> Result<Rep> {
        let reply = match self.call? {
            Call::Open(call) => call.await?,
            Call::Replied(reply) => reply,
        };
        Ok((self.decode)(reply)?)
    }
}

impl Calls {
    /// Makes a call with one message each way, and leaves it to whoever wants the reply to
    /// wait for that. Through interceptors, which wait themselves, it is over by then.
    pub(crate) async fn start<C, Req, Rep>(
        &self,
        ctx: &Context,
        service: &str,
        method: &str,
        request: &Req,
    ) -> Pending<Rep>
    where
        C: Codec<Req> + Codec<Rep>,
    {
        let rpc = Rpc::new(service, method, CallKind::Unary);
        let encoded = Encoded::<C, Req>::new(request);
        Pending {
            call: self.make(ctx, rpc, &encoded).await,
            decode: <C as Codec<Rep>>::decode_slice,
        }
    }

    async fn make(&self, ctx: &Context, rpc: Rpc<'_>, request: &dyn Payload) -> Result<Call> {
        if self.is_intercepted() {
            let body = Body::One(to_bytes(request)?);
            let reply = self.intercept(ctx, rpc, body).await?;
            return Ok(Call::Replied(reply.into_one()?.into()));
        }
        let connection = Cow::Owned(self.connection(ctx).await?.into_owned());
        let call = self.begin(connection, ctx, rpc, Some(request))?;
        Ok(Call::Open(call))
    }
}
