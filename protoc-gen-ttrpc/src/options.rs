//! The options, defined once for the plugin's parameter, the command line and
//! build scripts.

use crate::Problem;

/// Where message types come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Messages {
    /// From rust-protobuf's generator, in the same run.
    Protobuf,
    /// From elsewhere: a run of its own, or another crate.
    None,
}

/// How to generate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) messages: Messages,
    /// The Rust path of the module that holds the message modules; empty if not
    /// set.
    pub(crate) message_path: String,
    pub(crate) mod_rs: bool,
}

/// One option, as a user sees it.
struct Key {
    name: &'static str,
    /// The values it takes, as the help shows them.
    values: &'static str,
    help: &'static str,
    /// Takes the value, or names the valid ones.
    set: fn(&mut Options, &str) -> Result<(), &'static [&'static str]>,
}

const KEYS: &[Key] = &[
    Key {
        name: "messages",
        values: "protobuf|none",
        help: "generate message types with rust-protobuf (default), or none",
        set: |options, value| {
            options.messages = match value {
                "protobuf" => Messages::Protobuf,
                "none" => Messages::None,
                _ => return Err(&["protobuf", "none"]),
            };
            Ok(())
        },
    },
    Key {
        name: "message_path",
        values: "<Rust path>",
        help: "with messages=none: the module that holds the message modules,\nsuch as crate::protos",
        set: |options, value| {
            if !is_rust_path(value) {
                return Err(&["crate::protos"]);
            }
            options.message_path = value.to_owned();
            Ok(())
        },
    },
    Key {
        name: "mod_rs",
        values: "true|false",
        help: "write a mod.rs that lists the generated modules (default: false\nunder protoc and buf, true for `compile` and in build scripts)",
        set: |options, value| {
            options.mod_rs = match value {
                "true" => true,
                "false" => false,
                _ => return Err(&["true", "false"]),
            };
            Ok(())
        },
    },
];

impl Options {
    /// The options of a run as a plugin, which knows only the files of one
    /// directory and leaves `mod.rs` to its user.
    pub(crate) fn plugin() -> Self {
        Self {
            messages: Messages::Protobuf,
            message_path: String::new(),
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
            .filter_map(|(key, value)| self.set(key.as_ref(), value.as_ref()).err())
            .collect();
        if problems.is_empty() {
            problems.extend(self.contradiction());
        }
        if problems.is_empty() {
            Ok(self)
        } else {
            Err(problems)
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Problem> {
        let Some(known) = KEYS.iter().find(|known| known.name == key) else {
            let names = KEYS.iter().map(|known| known.name);
            return Err(Problem::new(
                format!("there is no option `{key}`"),
                format!("the nearest is `{}`", nearest(key, names)),
            ));
        };
        (known.set)(self, value).map_err(|valid| {
            let valid = valid.iter().copied();
            Problem::new(
                format!("option `{key}` can't be `{value}`"),
                format!("the nearest valid value is `{}`", nearest(value, valid)),
            )
        })
    }

    fn contradiction(&self) -> Option<Problem> {
        match (self.messages, self.message_path.is_empty()) {
            (Messages::None, true) => Some(Problem::new(
                "with `messages=none` the services don't know where their messages are",
                "say it with `message_path`, such as `message_path=crate::protos`",
            )),
            (Messages::Protobuf, false) => Some(Problem::new(
                "with `messages=protobuf` the messages are generated beside the services, \
                 so that `message_path` means nothing",
                "leave it out, or add `messages=none`",
            )),
            _ => None,
        }
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

/// The options as the help of the command line shows them, one a paragraph.
pub fn help() -> String {
    let mut text = String::new();
    for Key {
        name, values, help, ..
    } in KEYS
    {
        let help = help.replace('\n', "\n          ");
        text.push_str(&format!("  {name}={values}\n          {help}\n"));
    }
    text
}

fn nearest<'a>(word: &str, valid: impl Iterator<Item = &'a str>) -> &'a str {
    valid
        .min_by_key(|valid| strsim::osa_distance(word, valid))
        .unwrap_or_default()
}

/// Whether this is a path to a module: names only, optionally absolute.
fn is_rust_path(text: &str) -> bool {
    let path = text.strip_prefix("::").unwrap_or(text);
    let is_module = |name: &str| {
        matches!(name, "crate" | "self" | "super") || syn::parse_str::<syn::Ident>(name).is_ok()
    };
    path.split("::").all(is_module)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(parameter: &str) -> Result<Options, Vec<String>> {
        Options::plugin()
            .with(split(parameter))
            .map_err(|problems| problems.iter().map(Problem::to_string).collect())
    }

    #[test]
    fn nothing_is_the_default() {
        assert_eq!(parse(""), Ok(Options::plugin()));
        assert_eq!(parse(" , ,"), Ok(Options::plugin()));
    }

    #[test]
    fn blanks_repeats_and_bare_keys() {
        let parsed = parse(" mod_rs=false , messages = none,message_path=a::b, mod_rs").unwrap();
        assert!(parsed.mod_rs);
        assert_eq!(parsed.messages, Messages::None);
        assert_eq!(parsed.message_path, "a::b");
    }

    #[test]
    fn an_escaped_comma_does_not_separate() {
        let pairs = split(r"a=x\,y,b=\z");
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(pairs, [("a", "x,y"), ("b", r"\z")]);
    }

    #[test]
    fn all_that_is_wrong_is_named() {
        let problems = parse("mesages=none,mod_rs=yes,messages=prtobuf").unwrap_err();
        assert_eq!(
            problems,
            [
                "there is no option `mesages`; the nearest is `messages`",
                "option `mod_rs` can't be `yes`; the nearest valid value is `true`",
                "option `messages` can't be `prtobuf`; the nearest valid value is `protobuf`",
            ]
        );
    }

    #[test]
    fn message_path_goes_with_messages_none() {
        assert!(parse("messages=none").is_err());
        assert!(parse("message_path=crate::protos").is_err());
        for path in [
            "crate",
            "::protos",
            "super::super::a",
            "r#move::b",
            "self::a",
        ] {
            assert!(parse(&format!("messages=none,message_path={path}")).is_ok());
        }
        for path in ["", "::", "a::", "a-b", "a<b>", "a.b", "fn", "a b"] {
            assert!(parse(&format!("messages=none,message_path={path}")).is_err());
        }
    }
}
