//! Streams that are read where they were made.

// Clippy takes what is for tests with some features only for no test.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::*;
use crate::codec::Raw;
use crate::connection::Flush;
use crate::proto::Batch;
use crate::status::Status;
use crate::wakes::Wakes;

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

/// A stream of a connection that takes note of how many bytes are sent together.
#[derive(Default)]
struct Noted(Mutex<Vec<usize>>);

impl Streams for Noted {
    fn poll_send(&self, batch: &mut Batch, _: Flush, _: &mut Context<'_>) -> Poll<Result<()>> {
        self.0.lock().unwrap().push(batch.len());
        *batch = Batch::new(batch.stream());
        Poll::Ready(Ok(()))
    }

    fn send(&self, batch: &mut Batch, _: Flush) -> Result<()> {
        assert!(batch.is_empty());
        Ok(())
    }

    fn poll_receive(&self, _: StreamId, _: &mut VecDeque<Run>, _: &mut Context<'_>) -> Poll<Taken> {
        Poll::Pending
    }

    fn finish(&self, _: StreamId, result: Result<()>) {
        result.unwrap();
    }

    fn abandon(&self, _: StreamId) {}

    fn is_threaded(&self) -> bool {
        false
    }
}

/// How many bytes of ten messages, of as many bytes each as their header has, are sent together.
async fn sent(mut next: impl FnMut() + Send + 'static) -> Vec<usize> {
    let noted = Arc::new(Noted::default());
    let stream = StreamRef {
        streams: Arc::clone(&noted) as Arc<dyn Streams>,
        id: StreamId::FIRST,
    };
    let messages = (0..10).map(move |_| {
        next();
        Bytes::from_static(&[7; 10])
    });
    let run = Streaming::from_iter(messages).send_to::<Raw>(stream);
    run.unwrap().await;
    let mut sent = noted.0.lock().unwrap();
    std::mem::take(&mut *sent)
}

#[tokio::test]
async fn messages_that_come_slowly_go_one_by_one_and_others_in_order() {
    let slow = sent(|| std::thread::sleep(Duration::from_millis(1))).await;
    assert_eq!(slow, [20; 10]);
    // How fast these come is for the machine to say. The first one does not wait.
    let fast = sent(|| {}).await;
    assert_eq!((fast[0], fast.iter().sum()), (20, 200));
}

#[tokio::test]
async fn who_polls_last_is_woken_though_others_polled_in_between() {
    let (here, mut there) = tokio::io::duplex(1000);
    let client = crate::Client::builder().over(here);
    let ctx = crate::Context::new();
    let replies = client.server_streaming(Raw, &ctx, "s.S", "M", Bytes::new());
    let mut replies: Streaming<Bytes> = replies.await.unwrap();
    let [one, other] = [(); 2].map(|()| Arc::<Wakes>::default());
    let mut poll =
        |wakes: &Arc<Wakes>| replies.poll_message(&mut Context::from_waker(&wakes.waker()));
    let message = [0, 0, 0, 1, 0, 0, 0, 1, 3, 0, 7];
    there.write_all(&message).await.unwrap();
    while poll(&one).is_pending() {
        tokio::task::yield_now().await;
    }
    assert!(poll(&other).is_pending());
    one.take();
    assert!(poll(&one).is_pending());
    there.write_all(&message).await.unwrap();
    while [&one, &other].iter().all(|wakes| wakes.count() == 0) {
        tokio::task::yield_now().await;
    }
    assert!(one.count() > 0);
    assert!(poll(&one).is_ready());
}
