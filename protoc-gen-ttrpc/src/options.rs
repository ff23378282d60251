//! The options: what they mean, whichever door they come through.
//!
//! `keys` defines them, once for the plugin's parameter, the command line and build
//! scripts.

mod keys;

pub use keys::help;

use crate::Problem;

/// Whose message types there are, or will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Protobuf,
    Prost,
    Buffa,
}

/// A pair of things of which at least one is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pick {
    pub(crate) first: bool,
    pub(crate) second: bool,
}

/// How to generate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// The asynchronous flavour, and the blocking one.
    pub(crate) flavours: Pick,
    /// Clients, and servers.
    pub(crate) sides: Pick,
    /// Whose generator is run for messages, if any is.
    pub(crate) messages: Option<Backend>,
    /// Whose messages they are if nobody's generator is run.
    codec: Option<Backend>,
    /// The Rust path of the module that holds the message modules; empty if not
    /// set.
    pub(crate) message_path: String,
    /// Full names of .proto, with the dot in front, and Rust paths.
    pub(crate) extern_paths: Vec<(String, String)>,
    pub(crate) runtime_path: String,
    pub(crate) file_suffix: String,
    pub(crate) service_prefix: String,
    pub(crate) required_methods: bool,
    /// Full names of services, or nothing for all, and attributes.
    pub(crate) trait_attributes: Vec<(String, String)>,
    /// Names modules after the whole path of a file.
    pub(crate) path_modules: bool,
    pub(crate) mod_rs: bool,
}

impl Options {
    /// The options of a run as a plugin, which knows only the files of one
    /// directory and leaves `mod.rs` to its user.
    pub(crate) fn plugin() -> Self {
        Self {
            flavours: Pick {
                first: true,
                second: false,
            },
            sides: Pick {
                first: true,
                second: true,
            },
            messages: Some(Backend::Protobuf),
            codec: None,
            message_path: String::new(),
            extern_paths: Vec::new(),
            runtime_path: "::ttrpc_runtime".to_owned(),
            file_suffix: "_ttrpc".to_owned(),
            service_prefix: String::new(),
            required_methods: false,
            trait_attributes: Vec::new(),
            path_modules: false,
            mod_rs: false,
        }
    }

    /// The options of a run that sees all the files.
    pub(crate) fn compiler() -> Self {
        Self {
            mod_rs: true,
            ..Self::plugin()
        }
    }

    /// Whose messages the services take and give.
    pub(crate) fn backend(&self) -> Backend {
        let elsewhere = self.codec.unwrap_or(Backend::Protobuf);
        self.messages.unwrap_or(elsewhere)
    }

    /// Takes `pairs` of keys and values, or says everything that is wrong with them.
    pub(crate) fn with<K, V>(
        mut self,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, Vec<Problem>>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let mut problems: Vec<Problem> = pairs
            .into_iter()
            .filter_map(|(key, value)| keys::set(&mut self, key.as_ref(), value.as_ref()).err())
            .collect();
        if problems.is_empty() {
            problems.extend(self.contradictions());
        }
        if problems.is_empty() {
            Ok(self)
        } else {
            Err(problems)
        }
    }

    fn contradictions(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        match (self.messages, self.message_path.is_empty()) {
            (None, true) => problems.push(Problem::new(
                "with `messages=none` the services don't know where their messages are",
                "say it with `message_path`, such as `message_path=crate::protos`",
            )),
            (Some(backend), false) => problems.push(Problem::new(
                format!(
                    "with `messages={}` the messages are generated beside the services, \
                     so that `message_path` means nothing",
                    keys::name(backend)
                ),
                "leave it out, or add `messages=none`",
            )),
            _ => {}
        }
        if let (Some(messages), Some(codec)) = (self.messages, self.codec) {
            if messages != codec {
                let (messages, codec) = (keys::name(messages), keys::name(codec));
                problems.push(Problem::new(
                    format!("`codec={codec}` can't encode what `messages={messages}` generates"),
                    "leave `codec` out, or take the messages from elsewhere with `messages=none`",
                ));
            }
        }
        problems
    }
}

/// Splits a plugin's parameter: `,` separates, `\,` is a comma, a bare key is true.
pub(crate) fn split(parameter: &str) -> Vec<(String, String)> {
    let mut pairs = vec![String::new()];
    let mut characters = parameter.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.peek(), pairs.last_mut()) {
            ('\\', Some(','), Some(pair)) => {
                pair.push(',');
                characters.next();
            }
            (',', _, _) => pairs.push(String::new()),
            (other, _, Some(pair)) => pair.push(other),
            (_, _, None) => {}
        }
    }
    let pairs = pairs.iter().map(|pair| pair.trim());
    let pairs = pairs.filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, "true"));
            (key.trim().to_owned(), value.trim().to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests;
