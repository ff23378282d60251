//! What a thread keeps for its connections, so that an idle one has nothing of it.

use std::cell::Cell;

/// How many pieces a thread keeps.
const KEPT: usize = 2;

/// Pieces of memory that nobody uses.
pub(super) struct Spares<T>([Cell<Option<T>>; KEPT]);

impl<T> Spares<T> {
    pub(super) const fn new() -> Self {
        Self([const { Cell::new(None) }; KEPT])
    }

    /// Takes one that fits.
    pub(super) fn take(&self, fits: impl Fn(&T) -> bool) -> Option<T> {
        self.0.iter().find_map(|place| {
            let spare = place.take()?;
            if fits(&spare) {
                return Some(spare);
            }
            place.set(Some(spare));
            None
        })
    }

    /// Keeps one; the one that has been there for longest makes room.
    pub(super) fn put(&self, spare: T) {
        let mut spare = Some(spare);
        for place in &self.0 {
            spare = place.replace(spare.take());
            if spare.is_none() {
                break;
            }
        }
    }
}
