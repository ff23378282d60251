//! `Metadata`: the key-value pairs that travel with a request.

use std::fmt;

/// Key-value pairs beside a request; a key can have several values.
///
/// The rules are Go's: keys are lower-cased when they are set, and left as they
/// came when they are received; the values of a key keep their order. Looking a key
/// up does not mind its case, so that what came is found however it was spelt
/// (PROTOCOL.md §4.1).
///
/// ```
/// use ttrpc_runtime::Metadata;
///
/// let mut metadata = Metadata::new();
/// metadata.append("Trace-Id", "1");
/// metadata.append("trace-id", "2");
/// assert_eq!(metadata.get("trace-id"), Some("1"));
/// assert_eq!(metadata.get_all("trace-id").collect::<Vec<_>>(), ["1", "2"]);
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    pairs: Vec<(String, String)>,
}

impl Metadata {
    /// No pairs.
    pub const fn new() -> Self {
        Self { pairs: Vec::new() }
    }

    /// The first value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.get_all(key).next()
    }

    /// The values of `key`, in order.
    pub fn get_all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.iter()
            .filter(move |(k, _)| k.eq_ignore_ascii_case(key))
            .map(|(_, value)| value)
    }

    /// Makes `value` the only value of `key`.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        let key = key.into();
        self.remove(&key);
        self.append(key, value);
    }

    /// Adds a value to `key`.
    pub fn append(&mut self, key: impl Into<String>, value: impl Into<String>) {
        let mut key = key.into();
        key.make_ascii_lowercase();
        self.push_received(key, value.into());
    }

    /// Removes every value of `key`.
    pub fn remove(&mut self, key: &str) {
        self.pairs.retain(|(k, _)| !k.eq_ignore_ascii_case(key));
    }

    /// All pairs, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Adds a pair as it came, its key untouched.
    pub(crate) fn push_received(&mut self, key: String, value: String) {
        self.pairs.push((key, value));
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut metadata = Self::new();
        for (key, value) in pairs {
            metadata.append(key, value);
        }
        metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_lower_cased_on_set_and_not_on_receipt() {
        let mut metadata = Metadata::new();
        metadata.set("Key", "mine");
        metadata.push_received("Came".into(), "theirs".into());
        assert_eq!(
            metadata.iter().collect::<Vec<_>>(),
            [("key", "mine"), ("Came", "theirs")]
        );
        assert_eq!(metadata.get("came"), Some("theirs"));
    }

    #[test]
    fn set_replaces_and_append_adds() {
        let mut metadata: Metadata = [("a", "1"), ("b", "2"), ("A", "3")].into_iter().collect();
        assert_eq!(metadata.get_all("a").collect::<Vec<_>>(), ["1", "3"]);
        metadata.set("a", "4");
        assert_eq!(metadata.get_all("a").collect::<Vec<_>>(), ["4"]);
        assert_eq!(metadata.len(), 2);
    }
}
