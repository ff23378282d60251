//! What calls leave behind.

// Clippy takes what is for tests with some features only for no test.
#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;

use crate::wakes::Wakes;

/// Whoever waits for the end of a connection and gives up leaves nothing behind, and takes
/// nothing from others of the same task.
#[tokio::test]
async fn who_no_longer_waits_for_the_end_is_forgotten() {
    let (here, there) = tokio::io::duplex(1000);
    let client = crate::Client::builder().over(here);
    let wakes = Arc::<Wakes>::default();
    let waker = wakes.waker();
    let before = Arc::strong_count(&wakes);
    let mut cx = Context::from_waker(&waker);
    assert!(pin!(client.closed()).poll(&mut cx).is_pending());
    assert_eq!(Arc::strong_count(&wakes), before);
    let mut stays = pin!(client.closed());
    assert!(stays.as_mut().poll(&mut cx).is_pending());
    for _ in 0..10 {
        assert!(pin!(client.closed()).poll(&mut cx).is_pending());
    }
    assert_eq!(Arc::strong_count(&wakes), before + 1);
    drop(there);
    while wakes.count() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(stays.as_mut().poll(&mut cx).is_ready());
    assert!(pin!(client.closed()).poll(&mut cx).is_ready());
    assert_eq!(Arc::strong_count(&wakes), before);
}
