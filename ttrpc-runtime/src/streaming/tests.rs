//! Streams that are read where they were made.

use super::*;
use crate::status::Status;

async fn collect(mut streaming: Streaming<u32>) -> (Vec<u32>, Result<()>) {
    let mut messages = Vec::new();
    loop {
        match streaming.message().await {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return (messages, Ok(())),
            Err(error) => return (messages, Err(error)),
        }
    }
}

#[tokio::test]
async fn an_iterator() {
    let (messages, end) = collect(Streaming::from_iter(0..3)).await;
    assert_eq!(messages, [0, 1, 2]);
    end.unwrap();
}

#[tokio::test]
async fn a_producer_runs_as_it_is_read_and_its_error_comes_last() {
    let streaming = Streaming::produce(async move |sender| {
        for number in 0..100 {
            sender.send(number).await?;
        }
        Err(Status::aborted("enough").into())
    });
    let (messages, end) = collect(streaming).await;
    assert!(messages.into_iter().eq(0..100));
    assert_eq!(end.unwrap_err().status().unwrap().message, "enough");
}

#[tokio::test]
async fn a_channel_ends_when_its_last_sender_is_dropped() {
    let (sender, streaming) = Streaming::channel(2);
    let other = sender.clone();
    let task = tokio::spawn(async move {
        for number in 0..10 {
            sender.send(number).await.unwrap();
        }
        drop(sender);
        other.send(10).await.unwrap();
    });
    let (messages, end) = collect(streaming).await;
    assert!(messages.into_iter().eq(0..=10));
    end.unwrap();
    task.await.unwrap();
}

#[tokio::test]
async fn a_sender_learns_that_nobody_reads() {
    let (sender, streaming) = Streaming::channel(1);
    sender.send(1).await.unwrap();
    drop(streaming);
    assert!(sender.send(2).await.unwrap_err().is_cancelled());
}
