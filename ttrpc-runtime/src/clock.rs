//! The one place that reads a clock.

use std::time::Instant;

/// Now; tokio's idea of it where tokio is used, so that its paused test clock works.
pub(crate) fn now() -> Instant {
    #[cfg(feature = "tokio")]
    return tokio::time::Instant::now().into_std();
    #[cfg(not(feature = "tokio"))]
    Instant::now()
}
