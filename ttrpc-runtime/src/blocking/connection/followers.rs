//! The threads that sleep while another one reads.

use std::sync::Arc;
use std::task::Waker;

use crate::blocking::park::{self, Parker};
use crate::series::Series;

/// Those that are woken, one after the other, when nobody reads any more.
#[derive(Default)]
pub(super) struct Followers {
    threads: Series<Arc<Parker>>,
    next_key: u64,
}

impl Followers {
    /// Adds this thread.
    pub(super) fn enlist(&mut self) -> u64 {
        let key = self.next_key;
        self.next_key += 1;
        self.threads.push(key, park::parker());
        key
    }

    /// Removes a thread. Says whether it was there still: it was not if it was chosen.
    pub(super) fn strike_off(&mut self, key: u64) -> bool {
        self.threads.remove(key).is_some()
    }

    /// Chooses one to read. Those that are on their way will, if they have to wait again.
    pub(super) fn choose(&mut self) -> Option<Waker> {
        let (key, _) = self.threads.iter().find(|(_, thread)| !thread.is_woken())?;
        self.threads.remove(key).map(Waker::from)
    }

    /// Chooses all: nobody will read again.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Waker> {
        self.threads.take_all().map(Waker::from)
    }
}
