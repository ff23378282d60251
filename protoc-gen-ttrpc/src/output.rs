//! The files that a run gives, and how they get to disk.

use std::fs;
use std::io;
use std::path::Path;

use crate::Error;

/// One generated file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    /// Its name, relative to the output directory.
    pub(crate) name: String,
    /// The module that it is, from the outermost in; nothing for the outermost itself.
    pub(crate) module: Vec<String>,
    /// What that module holds.
    pub(crate) docs: String,
    /// Its text.
    pub(crate) content: String,
}

/// Writes the files into `directory`, which is made where it is missing.
///
/// A file that would not change is left alone, so that nothing is rebuilt for it.
pub(crate) fn write(outputs: &[Output], directory: &Path) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| Error::Io { path, source }
    };
    fs::create_dir_all(directory).map_err(failed(directory))?;
    for Output { name, content, .. } in outputs {
        let path = directory.join(name);
        if fs::read(&path).is_ok_and(|old| old == content.as_bytes()) {
            continue;
        }
        fs::write(&path, content).map_err(failed(&path))?;
    }
    Ok(())
}
