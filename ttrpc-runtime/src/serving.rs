//! What a server does, whichever flavour drives its connections.

mod connections;

use std::any::Any;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use self::connections::Connections;
pub(crate) use self::connections::{CallRef, Place};

use crate::cancel::Token;
use crate::connection::Answers;
use crate::context::{Connected, Context};
use crate::envelope::Request;
use crate::error::Result;
use crate::interceptor::{Chain, Interceptor, Invocation};
use crate::limits::Limits;
use crate::peer::Peer;
use crate::proto::{CallKind, server};
use crate::responder::{self, WireResponder};
use crate::service::{Call, Origin, Running, Service};
use crate::status::Status;

/// How long to wait after a connection could not be accepted, at first and at most.
const ACCEPT_BACKOFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// How a server is to be.
pub(crate) struct Settings {
    pub(crate) services: Vec<Box<dyn Service>>,
    pub(crate) limits: Arc<Limits>,
    interceptors: Chain,
    /// How a call comes through the interceptors, once there is one: a server without any
    /// has none of that in its binary.
    intercepted: Option<Intercepted>,
    pub(crate) handshake: Option<Handshake>,
    pub(crate) max_connections: usize,
    pub(crate) on_accept_error: OnAcceptError,
}

type Intercepted = fn(&Arc<Serving>, Context, Request, CallKind, WireResponder) -> Running;

type OnAcceptError = Box<dyn Fn(&io::Error) + Send + Sync>;

/// Lets a peer in or not, and finds out something about it.
type Handshake = Box<dyn Fn(Option<&Peer>) -> Result<Box<dyn Any + Send + Sync>> + Send + Sync>;

impl Default for Settings {
    fn default() -> Self {
        Self {
            services: Vec::new(),
            limits: Arc::default(),
            interceptors: Chain::default(),
            intercepted: None,
            handshake: None,
            max_connections: usize::MAX,
            on_accept_error: Box::new(|error| {
                let line = format!("ttrpc: connections can't be accepted, trying again: {error}\n");
                // At once, so that the lines of several threads don't mix.
                let _ = io::stderr().write_all(line.as_bytes());
            }),
        }
    }
}

impl Settings {
    /// Puts an interceptor around every call, inside of those that were added before.
    pub(crate) fn intercept(&mut self, interceptor: impl Interceptor) {
        self.interceptors.add(interceptor);
        self.intercepted = Some(Serving::intercepted);
    }

    /// The place of the service of that name, or the one that it would have.
    fn find(&self, name: &[u8]) -> Result<usize, usize> {
        (self.services).binary_search_by_key(&name, |service| service.name().as_bytes())
    }
}

/// The options that the builders of both flavours have. They set `self.settings`.
macro_rules! server_options {
    () => {
        /// Holds each connection to other limits than the default.
        pub fn limits(mut self, limits: $crate::Limits) -> Self {
            self.settings.limits = limits.into();
            self
        }

        /// Decides about each connection before a byte of it is read. Where it fails, the
        /// connection is closed; what it gives, handlers read by
        /// [`Context::handshake`](crate::Context::handshake).
        ///
        /// It gets who is at the other end, which the system tells of Unix sockets and vsock that
        /// [`serve`](Server::serve) accepts, and not for
        /// [`serve_connection`](Server::serve_connection).
        ///
        /// ```
        /// use ttrpc_runtime::{Peer, Result, Status};
        ///
        /// // To be given to `Server::builder().handshake(…)`.
        /// fn only_my_user(peer: Option<&Peer>) -> Result<()> {
        ///     let peer = peer.ok_or_else(|| Status::unauthenticated("who is it?"))?;
        ///     peer.require_same_user()
        /// }
        /// ```
        pub fn handshake<T: Send + Sync + 'static>(
            mut self,
            handshake: impl Fn(Option<&$crate::Peer>) -> $crate::Result<T> + Send + Sync + 'static,
        ) -> Self {
            self.settings.handshake = Some(Box::new(move |peer| Ok(Box::new(handshake(peer)?))));
            self
        }

        /// Accepts no more connections while there are so many: those that come wait until
        /// one ends. Default: no limit.
        pub fn max_connections(mut self, most: usize) -> Self {
            self.settings.max_connections = most;
            self
        }

        /// Calls a function when connections can't be accepted for a while, for example
        /// because the process has no descriptor left: once, however long that lasts.
        /// Default: writes a line to standard error.
        pub fn on_accept_error(
            mut self,
            f: impl Fn(&std::io::Error) + Send + Sync + 'static,
        ) -> Self {
            self.settings.on_accept_error = Box::new(f);
            self
        }
    };
}
pub(crate) use server_options;

/// A server, as all that work for it share it.
pub(crate) struct Serving {
    number: u64,
    /// Its services by their names, sorted.
    settings: Settings,
    /// Cancelled when no more connections are to be accepted.
    pub(crate) closing: Arc<Token>,
    connections: Mutex<Connections>,
}

impl Serving {
    pub(crate) fn new(mut settings: Settings) -> Result<Arc<Self>> {
        for service in std::mem::take(&mut settings.services) {
            let name = service.name();
            match settings.find(name.as_bytes()) {
                Err(place) => settings.services.insert(place, service),
                Ok(_) => {
                    return Err(Status::already_exists(format!(
                        "two services are named {name}: a server can have only one of them"
                    ))
                    .into());
                }
            }
        }
        Ok(connections::register(|number| Self {
            number,
            settings,
            closing: Token::child_of(None),
            connections: Mutex::default(),
        }))
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The protocol's side of a connection.
    pub(crate) fn endpoint<S: Default>(&self) -> server::Connection<S> {
        server::Connection::new(self.settings.limits.clone())
    }

    /// Lets a peer in, unless that has been done.
    pub(crate) fn greet(&self, connected: &mut Connected) -> Result<()> {
        match (&self.settings.handshake, &*connected) {
            (None, _) | (_, Connected::Greeted(_)) => {}
            (Some(handshake), _) => {
                let peer = connected.peer().copied();
                let found = handshake(peer.as_ref())?;
                *connected = Connected::Greeted(Arc::new((peer, found)));
            }
        }
        Ok(())
    }

    /// Gives a call on the connection of this key to its service; `None` where it is answered
    /// already.
    pub(crate) fn start(
        self: &Arc<Self>,
        key: u64,
        connection: Arc<dyn Answers>,
        connected: Connected,
        call: server::Call,
    ) -> Option<Running> {
        let server::Call {
            id,
            kind,
            mut request,
            deadline,
        } = call;
        let Some(service) = self.service(request.service_bytes()) else {
            let message = format!("there is no service {:?} here", request.service());
            WireResponder { connection, id }.fail(Status::unimplemented(message).into());
            return None;
        };
        let metadata = request.take_metadata();
        // What is a large part of what follows is made where it is to be.
        let responder = || WireResponder { connection, id };
        let ctx = || {
            let of = CallRef::new(self, key, id);
            Context::of_call(deadline, metadata, of, connected)
        };
        match self.settings.intercepted {
            None => Running::start(
                service,
                Call {
                    origin: Origin::Wire(request, kind, responder()),
                    ctx: ctx(),
                },
            ),
            Some(intercepted) => Some(intercepted(self, ctx(), request, kind, responder())),
        }
    }

    /// The call on its way through the interceptors.
    fn intercepted(
        self: &Arc<Self>,
        ctx: Context,
        request: Request,
        kind: CallKind,
        responder: WireResponder,
    ) -> Running {
        let call = Invocation {
            service: request.service().to_owned(),
            method: request.method().to_owned(),
            kind,
            body: responder.body(request, kind),
            ctx,
        };
        let server = Arc::clone(self);
        let work = async move {
            let serving = Arc::clone(&server);
            let last = async move |call: Invocation| {
                let service = serving.service(call.service().as_bytes());
                match service {
                    Some(service) => responder::answer(service, call).await,
                    None => Err(Status::unimplemented("there is no such service here").into()),
                }
            };
            server.settings.interceptors.run(call, last).await
        };
        Running::new(work, responder)
    }

    fn service(&self, name: &[u8]) -> Option<&dyn Service> {
        let at = self.settings.find(name).ok()?;
        Some(&*self.settings.services[at])
    }

    pub(crate) fn service_names(&self) -> Vec<&'static str> {
        let services = self.settings.services.iter();
        services.map(|service| service.name()).collect()
    }
}

/// How long to wait after connections could not be accepted.
#[derive(Default)]
pub(crate) struct Backoff(Option<Duration>);

impl Backoff {
    /// One was accepted.
    pub(crate) fn reset(&mut self) {
        self.0 = None;
    }

    /// None could be accepted: says how long to wait before the next attempt.
    ///
    /// # Errors
    /// It will never work.
    pub(crate) fn failed(&mut self, error: io::Error, serving: &Serving) -> Result<Duration> {
        if error.kind() == io::ErrorKind::InvalidInput {
            return Err(error.into());
        }
        let wait = match self.0 {
            None => {
                (serving.settings.on_accept_error)(&error);
                ACCEPT_BACKOFF.0
            }
            Some(last) => ACCEPT_BACKOFF.1.min(last * 2),
        };
        self.0 = Some(wait);
        Ok(wait)
    }
}
