//! Calls of the blocking flavour that are not waited for one by one.

use std::fmt;
use std::marker::PhantomData;

use super::client::Client;
use super::park::block_on;
use crate::calls;
use crate::codec::Codec;
use crate::context::Context;
use crate::error::Result;

/// A method with one message each way, for [`Client::start`]: generated clients have one as
/// a constant for each such rpc, `GreeterClient::SAY_HELLO`.
pub struct Method<C, Req, Rep> {
    service: &'static str,
    name: &'static str,
    messages: PhantomData<fn(C, Req) -> Rep>,
}

impl<C, Req, Rep> Method<C, Req, Rep> {
    /// The method of a service, both as on the wire: `package.Service` and `Method`. Its
    /// messages are encoded by the codec `C`.
    pub const fn new(service: &'static str, name: &'static str) -> Self {
        Self {
            service,
            name,
            messages: PhantomData,
        }
    }
}

impl<C, Req, Rep> Copy for Method<C, Req, Rep> {}

impl<C, Req, Rep> Clone for Method<C, Req, Rep> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C, Req, Rep> fmt::Debug for Method<C, Req, Rep> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Method({}/{})", self.service, self.name)
    }
}

/// A call that [`Client::start`] has made. Dropping it gives the call up.
///
/// It can be waited for by another thread, and keeps its connection open until it is.
#[must_use = "a call that nobody waits for is given up"]
pub struct Pending<Rep>(calls::Pending<Rep>);

impl<Rep> Pending<Rep> {
    /// Waits for the reply. Where that is here already, it takes no system call.
    ///
    /// # Errors
    /// The call could not be made, or failed: by its handler, its deadline, its context or
    /// its connection. A reply that came in time is one however late it is waited for.
    pub fn wait(self) -> Result<Rep> {
        block_on(self.0.reply())
    }
}

impl<Rep> fmt::Debug for Pending<Rep> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

impl Client {
    /// Begins a call with one message each way: sends the request, and leaves it to
    /// [`Pending::wait`] to wait for the reply. So one thread has any number of calls under
    /// way, on one connection or on many:
    ///
    /// ```no_run
    /// # use ttrpc_runtime::{Context, Result, blocking::{Client, Method}, codec::Raw};
    /// # struct TaskClient;
    /// # impl TaskClient {
    /// #     const PIDS: Method<Raw, bytes::Bytes, bytes::Bytes> = Method::new("a.Task", "Pids");
    /// # }
    /// # fn all(shims: &[Client], request: bytes::Bytes) -> Result<()> {
    /// let ctx = Context::new().with_timeout(std::time::Duration::from_secs(2));
    /// let calls: Vec<_> = shims
    ///     .iter()
    ///     .map(|shim| shim.start(&ctx, TaskClient::PIDS, request.clone()))
    ///     .collect();
    /// for call in calls {
    ///     println!("{:?}", call.wait()?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Whatever goes wrong at once is what [`wait`](Pending::wait) gives. It does not wait for
    /// the server: what the socket does not take now is kept, however much that is, and
    /// written by the next thread that waits for anything on this connection. Replies are
    /// read by those as well; until then they are left to the socket. That the context was
    /// cancelled is noticed by `wait`.
    ///
    /// Interceptors wait for the call they stand around: where there are any, it is over when
    /// this returns.
    pub fn start<C, Req, Rep>(
        &self,
        ctx: &Context,
        method: Method<C, Req, Rep>,
        request: Req,
    ) -> Pending<Rep>
    where
        C: Codec<Req> + Codec<Rep>,
    {
        let Method { service, name, .. } = method;
        let call = self
            .calls
            .start::<C, Req, Rep>(ctx, service, name, &request);
        Pending(block_on(call))
    }
}
