//! The console of a server under test: it counts what happens to handlers, and lets go
//! those that hold.
//!
//! ```text
//! count EVENT     how often handlers have `started`, `finished` or were `cancelled`
//! release         lets all handlers go on that hold
//! shutdown        begins to shut the server down gracefully
//! ```

use std::collections::HashMap;
use std::io::BufRead;
use std::process::exit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};

/// What happens to handlers, and whether they may go on.
#[derive(Default)]
pub struct Console {
    events: Mutex<HashMap<&'static str, usize>>,
    released: watch::Sender<bool>,
    /// What lets the threads go on that hold.
    threads: Mutex<Vec<Release>>,
}

type Release = Box<dyn FnOnce() + Send>;

impl Console {
    /// Listens for the runner's questions; what it gives is ready when the server is to
    /// shut down.
    pub fn listen(self: &Arc<Self>) -> oneshot::Receiver<()> {
        let (stop, stopping) = oneshot::channel();
        let console = Arc::clone(self);
        std::thread::spawn(move || console.answer(stop));
        stopping
    }

    /// Answers the runner's questions, a line each.
    fn answer(&self, stop: oneshot::Sender<()>) {
        let mut stop = Some(stop);
        for line in std::io::stdin().lock().lines().map_while(|line| line.ok()) {
            match line.split_once(' ').unwrap_or((&line, "")) {
                ("count", event) => println!("{}", self.events().get(event).unwrap_or(&0)),
                ("release", "") => {
                    // Before the last handler goes on, with which a server may end.
                    println!("ok");
                    self.release();
                }
                ("shutdown", "") => {
                    println!("ok");
                    if let Some(stop) = stop.take() {
                        let _ = stop.send(());
                    }
                }
                _ => println!("expected `count EVENT`, `release` or `shutdown`"),
            }
        }
        exit(1);
    }

    fn events(&self) -> MutexGuard<'_, HashMap<&'static str, usize>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event(&self, name: &'static str) {
        *self.events().entry(name).or_default() += 1;
    }

    /// Lets all handlers go on that hold.
    fn release(&self) {
        self.released.send_replace(true);
        self.threads().drain(..).for_each(|release| release());
    }

    fn threads(&self) -> MutexGuard<'_, Vec<Release>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the console says `release`, and counts what happens.
    pub async fn hold(&self) {
        let mut held = Held::begin(self);
        // The sender lives as long as `self`.
        let _ = self
            .released
            .subscribe()
            .wait_for(|released| *released)
            .await;
        held.ended = "finished";
    }

    /// The same for a handler that keeps its thread: `wait` until `release` is called or
    /// the call is over, and say whether it may go on.
    pub fn hold_thread(
        &self,
        release: impl FnOnce() + Send + 'static,
        wait: impl FnOnce() -> bool,
    ) -> bool {
        let mut held = Held::begin(self);
        self.threads().push(Box::new(release));
        if *self.released.borrow() {
            // Perhaps before it could know of this one.
            self.release();
        }
        let goes_on = wait();
        if goes_on {
            held.ended = "finished";
        }
        goes_on
    }
}

/// A handler that holds, and what became of it.
struct Held<'a> {
    console: &'a Console,
    ended: &'static str,
}

impl<'a> Held<'a> {
    fn begin(console: &'a Console) -> Self {
        console.event("started");
        Self {
            console,
            ended: "cancelled",
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.console.event(self.ended);
    }
}
