//! What can go wrong, said in a way that helps.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why nothing was generated.
#[non_exhaustive]
pub enum Error {
    /// The .proto files or the options can't be generated from: everything that is
    /// wrong with them.
    Problems(Vec<Problem>),
    /// The bytes are not a request that protoc or buf would send.
    Malformed(String),
    /// A file could not be read or written.
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// One thing that is wrong with the input, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The .proto file, as protoc names it; none where an option is wrong.
    pub file: Option<String>,
    /// The line in it, counted from 1, where known.
    pub line: Option<u32>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub fix: String,
}

impl Problem {
    pub(crate) fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            file: None,
            line: None,
            what: what.into(),
            fix: fix.into(),
        }
    }

    pub(crate) fn at(self, file: &str, line: Option<u32>) -> Self {
        Self {
            file: Some(file.to_owned()),
            line,
            ..self
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line}: ")?,
            (Some(file), None) => write!(f, "{file}: ")?,
            (None, _) => {}
        }
        write!(f, "{}; {}", self.what, self.fix)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problems(problems) => {
                for (index, problem) in problems.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "\n" };
                    write!(f, "{separator}{problem}")?;
                }
                Ok(())
            }
            Self::Malformed(why) => write!(
                f,
                "expected a CodeGeneratorRequest as protoc and buf send it, but {why}"
            ),
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In words: that is what the `main` of a build script shows.
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Problems(_) | Self::Malformed(_) => None,
        }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Problems(vec![problem])
    }
}
