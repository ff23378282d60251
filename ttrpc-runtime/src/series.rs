//! `Series`: a map whose keys grow.

/// How many places may be empty before it matters.
const SLACK: usize = 8;

/// Room for no more than that is kept, however little is in it.
const KEPT: usize = 1024;

/// Values by keys, each of which is added with a key greater than all before it: stream
/// ids, connections.
///
/// They lie in order. While no key was left out, where one lies follows from its key;
/// otherwise it is searched for. There is no hash that a peer could make collide.
#[derive(Debug)]
pub(crate) struct Series<T> {
    /// The last one is not empty; others are for a while after they were removed.
    places: Vec<(u64, Option<T>)>,
    len: usize,
}

impl<T> Default for Series<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Series<T> {
    pub(crate) const fn new() -> Self {
        Self {
            places: Vec::new(),
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many values there is room for.
    pub(crate) fn capacity(&self) -> usize {
        self.places.capacity()
    }

    /// Adds a value, whose key is greater than those of all that were added before.
    pub(crate) fn push(&mut self, key: u64, value: T) {
        debug_assert!(self.places.last().is_none_or(|(last, _)| *last < key));
        self.places.push((key, Some(value)));
        self.len += 1;
    }

    #[inline]
    fn place(&self, key: u64) -> Option<usize> {
        let (first, _) = self.places.first()?;
        let near = key.wrapping_sub(*first) as usize;
        match self.places.get(near) {
            Some((found, _)) if *found == key => Some(near),
            _ => self.search(key, near),
        }
    }

    /// Where a key lies that is so far behind the first one: no further than that from the
    /// first place, and no further from the last place than it is before the last key.
    #[inline(never)]
    fn search(&self, key: u64, near: usize) -> Option<usize> {
        let (last, _) = self.places.last()?;
        let before = last.checked_sub(key)? as usize;
        let from = (self.places.len() - 1).saturating_sub(before);
        if self.places.get(from)?.0 == key {
            // Most often only what is old has gaps.
            return Some(from);
        }
        let to = self.places.len().min(near);
        let between = self.places.get(from..to)?;
        let place = between.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        Some(from + place)
    }

    #[inline]
    pub(crate) fn get(&self, key: u64) -> Option<&T> {
        let place = self.place(key)?;
        self.places.get(place)?.1.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        let place = self.place(key)?;
        self.places.get_mut(place)?.1.as_mut()
    }

    #[cfg(any(feature = "tokio", feature = "blocking", test))]
    pub(crate) fn remove(&mut self, key: u64) -> Option<T> {
        let place = self.place(key)?;
        let value = self.places.get_mut(place)?.1.take()?;
        self.removed();
        Some(value)
    }

    /// Removes a value, which is dropped where it lies: to move a large one takes long. Says
    /// whether there was one.
    pub(crate) fn discard(&mut self, key: u64) -> bool {
        let place = self.place(key);
        let removed = place.and_then(|place| self.places.get_mut(place));
        let was_there = removed.is_some_and(|(_, value)| {
            let was_there = value.is_some();
            *value = None;
            was_there
        });
        if was_there {
            self.removed();
        }
        was_there
    }

    fn removed(&mut self) {
        self.len -= 1;
        while let Some((_, None)) = self.places.last() {
            // Nothing is in it that would have to be dropped.
            std::mem::forget(self.places.pop());
        }
        if self.places.len() > 2 * self.len + SLACK {
            self.places.retain(|(_, value)| value.is_some());
        }
        if self.places.capacity() > KEPT && self.places.capacity() / 8 > self.places.len() {
            self.places.shrink_to(KEPT.max(2 * self.places.len()));
        }
    }

    /// The keys and their values, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.places
            .iter()
            .filter_map(|(key, value)| Some((*key, value.as_ref()?)))
    }

    /// Takes all values out, in order.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = T> {
        let all = std::mem::take(self);
        all.places.into_iter().filter_map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_is_a_map_whatever_is_left_out_and_removed() {
        let (mut series, mut map) = (Series::default(), BTreeMap::new());
        let mut key = 0;
        let mut random = 1_u64;
        for _ in 0..10_000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            match random >> 61 {
                0..4 => {
                    // Now and then some keys are left out.
                    key += if random >> 32 & 15 == 0 { 5 } else { 1 };
                    series.push(key, key);
                    map.insert(key, key);
                }
                _ => {
                    let back = (random >> 32) % 40;
                    let key = key.saturating_sub(back);
                    assert_eq!(series.remove(key), map.remove(&key));
                    assert_eq!(series.remove(key), None);
                }
            }
            for back in 0..50 {
                let key = (key + 1).saturating_sub(back);
                assert_eq!(series.get(key), map.get(&key));
                assert_eq!(series.get_mut(key), map.get_mut(&key));
            }
            assert_eq!(
                (series.len(), series.is_empty()),
                (map.len(), map.is_empty())
            );
        }
        assert!(
            series
                .iter()
                .eq(map.iter().map(|(key, value)| (*key, value)))
        );
        assert!(series.take_all().eq(map.into_values()));
        assert!(series.is_empty());
    }

    #[test]
    fn room_for_many_is_given_back_whatever_goes_first() {
        for is_first in [true, false] {
            let mut series = Series::default();
            for key in 0..10_000 {
                series.push(key, ());
            }
            for key in 0..10_000 {
                series.remove(if is_first { key } else { 9_999 - key });
                let room = KEPT.max(8 * (2 * series.len() + SLACK));
                assert!(
                    series.capacity() <= room,
                    "{} for {}",
                    series.capacity(),
                    series.len()
                );
            }
        }
    }

    #[test]
    fn one_that_stays_keeps_no_room_for_those_that_go() {
        let mut series = Series::default();
        for key in 0..1000 {
            series.push(key, ());
        }
        for key in 1..999 {
            series.remove(key);
        }
        assert_eq!(series.len(), 2);
        assert!(series.places.len() <= 2 * 2 + SLACK);
    }
}
