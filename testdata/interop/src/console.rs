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
}

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
                    self.released.send_replace(true);
                    println!("ok");
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

    /// Waits until the console says `release`, and counts what happens.
    pub async fn hold(&self) {
        self.event("started");
        let mut held = Held {
            console: self,
            ended: "cancelled",
        };
        // The sender lives as long as `self`.
        let _ = self
            .released
            .subscribe()
            .wait_for(|released| *released)
            .await;
        held.ended = "finished";
    }
}

/// A handler that holds, and what became of it.
struct Held<'a> {
    console: &'a Console,
    ended: &'static str,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.console.event(self.ended);
    }
}
