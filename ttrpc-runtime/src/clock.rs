//! The one place that reads a clock.

use std::time::Instant;

/// Now; tokio's idea of it where tokio is used, so that its paused test clock works.
pub(crate) fn now() -> Instant {
    #[cfg(feature = "tokio")]
    return tokio::time::Instant::now().into_std();
    #[cfg(not(feature = "tokio"))]
    Instant::now()
}

/// The time while something is handled: read where it is first asked for, which most frames
/// do not, and the same from then on.
#[derive(Default, Debug)]
pub struct Now(Option<Instant>);

impl Now {
    pub(crate) fn get(&mut self) -> Instant {
        *self.0.get_or_insert_with(now)
    }
}

impl From<Instant> for Now {
    fn from(at: Instant) -> Self {
        Self(Some(at))
    }
}
