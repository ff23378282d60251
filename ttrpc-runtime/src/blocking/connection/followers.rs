//! The threads that sleep while another one reads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use crate::blocking::park::{self, Parker};

/// Those that are woken, one after the other, when nobody reads any more.
#[derive(Default)]
pub(super) struct Followers {
    /// By their keys, which grow.
    threads: VecDeque<(u64, Arc<Parker>)>,
    next_key: u64,
}

impl Followers {
    /// Adds this thread.
    pub(super) fn enlist(&mut self) -> u64 {
        let key = self.next_key;
        self.next_key += 1;
        self.threads.push_back((key, park::parker()));
        key
    }

    /// Removes a thread. Says whether it was there still: it was not if it was chosen.
    pub(super) fn strike_off(&mut self, key: u64) -> bool {
        let place = self.threads.binary_search_by_key(&key, |(key, _)| *key);
        place.is_ok_and(|place| self.threads.remove(place).is_some())
    }

    /// Chooses one to read. Those that are on their way will, if they have to wait again.
    pub(super) fn choose(&mut self) -> Option<Waker> {
        let sleeps = |(_, thread): &(u64, Arc<Parker>)| !thread.is_woken();
        let place = self.threads.iter().position(sleeps)?;
        let (_, thread) = self.threads.remove(place)?;
        Some(thread.into())
    }

    /// Chooses all: nobody will read again.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Waker> {
        std::mem::take(&mut self.threads)
            .into_iter()
            .map(|(_, thread)| thread.into())
    }
}
