//! What is to happen when.

use std::collections::VecDeque;
use std::time::Instant;

use crate::clock::Now;

/// Times and what they are for, in order.
///
/// Most that are added are later than those there are, and most that are removed are
/// among the first, so that little has to move.
#[derive(Debug, Default)]
pub(crate) struct Timers(VecDeque<(Instant, u64)>);

impl Timers {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first of them.
    pub(crate) fn first(&self) -> Option<(Instant, u64)> {
        self.0.front().copied()
    }

    pub(crate) fn insert(&mut self, at: Instant, key: u64) {
        if let Err(place) = self.0.binary_search(&(at, key)) {
            self.0.insert(place, (at, key));
        }
    }

    pub(crate) fn remove(&mut self, at: Instant, key: u64) {
        if let Ok(place) = self.0.binary_search(&(at, key)) {
            self.0.remove(place);
        }
    }

    /// Takes the first of them out if its time has come by `now`.
    pub(crate) fn pop_due(&mut self, now: &mut Now) -> Option<(Instant, u64)> {
        let due = self.first().filter(|(at, _)| *at <= now.get())?;
        self.0.pop_front();
        Some(due)
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn they_come_in_order_whatever_was_added_and_removed() {
        let begin = Instant::now();
        let at = |second| begin + Duration::from_secs(second);
        let mut timers = Timers::default();
        for (second, key) in [(5, 1), (3, 2), (5, 0), (9, 3), (3, 2)] {
            timers.insert(at(second), key);
        }
        timers.remove(at(9), 3);
        timers.remove(at(4), 2);
        assert_eq!(timers.first(), Some((at(3), 2)));
        assert_eq!(timers.pop_due(&mut at(2).into()), None);
        let due = std::iter::from_fn(|| timers.pop_due(&mut at(5).into()));
        assert!(due.eq([(at(3), 2), (at(5), 0), (at(5), 1)]));
        assert_eq!(timers.first(), None);
    }
}
