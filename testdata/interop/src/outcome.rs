//! How a case ends.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use ttrpc_runtime::{Code, Error};

/// What a case gives: it passed or does not apply, or what went wrong.
pub type Outcome<T = Verdict> = Result<T, Failure>;

/// How a case ended that did not fail.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// All was as it should be.
    Pass,
    /// These peers can't do it, for this reason.
    NotApplicable(&'static str),
}

/// The end of a case that went through.
pub fn pass() -> Outcome {
    Ok(Verdict::Pass)
}

/// The end of a case that the peers can't do.
pub fn not_applicable(reason: &'static str) -> Outcome {
    Ok(Verdict::NotApplicable(reason))
}

/// What went wrong, for a person to read.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    pub fn new(what: impl Into<String>) -> Self {
        // What every message has to show and nobody wants to read.
        const NOISE: &str = ", special_fields: SpecialFields { unknown_fields: UnknownFields \
            { fields: None }, cached_size: CachedSize { size: 0 } }";
        let mut what = what.into().replace(NOISE, "");
        if let Some((end, _)) = what.char_indices().nth(400) {
            what.truncate(end);
            what.push('…');
        }
        Self(what)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(format!("unexpected error: {error}"))
    }
}

/// Fails the case unless a condition holds; the rest is a format string that says what
/// was expected.
macro_rules! check {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err($crate::outcome::Failure::new(format!($($what)+)));
        }
    };
}

/// Fails the case unless two values are equal; the rest says what they are.
macro_rules! check_eq {
    ($got:expr, $expected:expr, $($what:tt)+) => {{
        let (got, expected) = (&$got, &$expected);
        if got != expected {
            let what = format!($($what)+);
            return Err($crate::outcome::Failure::new(format!(
                "{what}: expected {expected:?}, got {got:?}"
            )));
        }
    }};
}

pub(crate) use {check, check_eq};

/// The error of a call that has to fail with `code`.
pub fn failed<T>(result: Result<T, Error>, code: Code, what: &str) -> Outcome<Error> {
    match result {
        Ok(_) => Err(Failure::new(format!(
            "{what}: expected {code}, but it succeeded"
        ))),
        Err(error) if error.code() == code => Ok(error),
        Err(error) => Err(Failure::new(format!(
            "{what}: expected {code}, got {}: {error}",
            error.code()
        ))),
    }
}

/// How long anything may take before it is said to hang.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for `future`, but not for ever.
pub async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> Outcome<T> {
    let result = tokio::time::timeout(PATIENCE, future).await;
    result.map_err(|_| Failure::new(format!("{what}: nothing happened for {PATIENCE:?}")))
}

/// A case: a function of whatever it is tried on, by its name.
pub struct Case<P: 'static> {
    pub name: &'static str,
    pub run: for<'a> fn(&'a P) -> Pin<Box<dyn Future<Output = Outcome> + 'a>>,
}

impl<P> Clone for Case<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Case<P> {}

/// Lists cases by the names of their functions.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        &[$($crate::outcome::Case {
            name: stringify!($case),
            run: |on| ::std::boxed::Box::pin($case(on)),
        }),*]
    };
}

pub(crate) use cases;
