//! `Status`: how a call ended, as `google.rpc.Status` carries it.

use std::fmt;

use bytes::Bytes;

/// A gRPC status code. Codes that are not named here keep their number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Code(pub i32);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $constructor:ident;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// The code's name in the gRPC specification, if it has one.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }

        impl Status {
            $(
                #[doc = concat!("A status with the code [`", stringify!($name), "`](Code::", stringify!($name), ").")]
                pub fn $constructor(message: impl Into<String>) -> Self {
                    Self::new(Code::$name, message)
                }
            )*
        }
    };
}

codes! {
    /// The call succeeded.
    OK = 0, ok;
    /// The caller gave up.
    CANCELLED = 1, cancelled;
    /// An error without a better code.
    UNKNOWN = 2, unknown;
    /// The request is wrong whatever the state of the server.
    INVALID_ARGUMENT = 3, invalid_argument;
    /// The deadline passed before the call ended.
    DEADLINE_EXCEEDED = 4, deadline_exceeded;
    /// What was asked for does not exist.
    NOT_FOUND = 5, not_found;
    /// What was to be made exists.
    ALREADY_EXISTS = 6, already_exists;
    /// The caller may not do this.
    PERMISSION_DENIED = 7, permission_denied;
    /// A quota or a limit is reached.
    RESOURCE_EXHAUSTED = 8, resource_exhausted;
    /// The system is not in the state that the call needs.
    FAILED_PRECONDITION = 9, failed_precondition;
    /// The call lost against a concurrent one.
    ABORTED = 10, aborted;
    /// A value lies past the valid range.
    OUT_OF_RANGE = 11, out_of_range;
    /// The server does not have this method.
    UNIMPLEMENTED = 12, unimplemented;
    /// An invariant is broken.
    INTERNAL = 13, internal;
    /// The server can't be reached or takes no calls; trying again may help.
    UNAVAILABLE = 14, unavailable;
    /// Data is lost or corrupt.
    DATA_LOSS = 15, data_loss;
    /// The caller did not say who it is.
    UNAUTHENTICATED = 16, unauthenticated;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "code {}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A message of any type, as `google.protobuf.Any` carries it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Any {
    /// The type's URL, such as `type.googleapis.com/google.rpc.RetryInfo`.
    pub type_url: String,
    /// The message, encoded.
    pub value: Bytes,
}

/// How a call ended: what handlers return when they fail, and what callers match.
///
/// ```
/// use ttrpc_runtime::{Code, Result, Status};
///
/// fn find(name: &str) -> Result<u32> {
///     match name {
///         "answer" => Ok(42),
///         _ => Err(Status::not_found(format!("there is no {name}")).into()),
///     }
/// }
///
/// let error = find("question").unwrap_err();
/// assert_eq!(error.code(), Code::NOT_FOUND);
/// assert_eq!(error.status().map(|s| s.message.as_str()), Some("there is no question"));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// What kind of end it is.
    pub code: Code,
    /// What happened, for a person to read.
    pub message: String,
    /// More about it, for a program to read.
    pub details: Vec<Any>,
}

impl Status {
    /// A status without details.
    // Made in many places, and seldom.
    #[inline(never)]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: Vec::new(),
        }
    }

    /// Adds a detail.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Any>) -> Self {
        self.details.push(detail.into());
        self
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Status {}
