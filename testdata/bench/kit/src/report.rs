//! What a client tells: one line of JSON, an object of numbers.

use std::collections::BTreeMap;
use std::fmt;

/// Numbers by their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report(BTreeMap<String, f64>);

impl Report {
    #[must_use]
    pub fn with(mut self, name: &str, value: f64) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    /// A number; not a number where it was not told.
    pub fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(f64::NAN)
    }

    /// Reads what [`Display`](fmt::Display) wrote.
    pub fn parse(line: &str) -> Option<Self> {
        let inside = line.trim().strip_prefix('{')?.strip_suffix('}')?;
        let pair = |pair: &str| {
            let (name, value) = pair.split_once(':')?;
            Some((
                name.trim().trim_matches('"').to_owned(),
                value.trim().parse().ok()?,
            ))
        };
        inside.split(',').map(pair).collect::<Option<_>>().map(Self)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (n, (name, value)) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}\"{name}\":{value}")?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let report = Report::default().with("rate", 12_345.5).with("p50", 0.25);
        assert_eq!(report.to_string(), r#"{"p50":0.25,"rate":12345.5}"#);
        assert_eq!(Report::parse(&report.to_string()), Some(report));
        assert_eq!(Report::parse("ready"), None);
    }
}
