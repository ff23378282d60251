//! Each option, as a user sees it.

use super::{Backend, Options, Pick};
use crate::{Problem, names};

/// One option.
struct Key {
    name: &'static str,
    /// The values it takes, as the help shows them.
    values: &'static str,
    /// What it does, with code in backquotes.
    help: &'static str,
    /// Takes the value, or names the valid ones.
    set: fn(&mut Options, &str) -> Result<(), &'static [&'static str]>,
}

const BACKENDS: [(&str, Backend); 3] = [
    ("protobuf", Backend::Protobuf),
    ("prost", Backend::Prost),
    ("buffa", Backend::Buffa),
];

const KEYS: &[Key] = &[
    Key {
        name: "flavours",
        values: "async|blocking|async+blocking",
        help: "which code to generate (default: `async`); the blocking one goes into a module \
               `blocking` and takes the feature of that name of the runtime",
        set: |options, value| {
            let names = ["async", "blocking"];
            options.flavours =
                pick(value, names).ok_or(&["async", "blocking", "async+blocking"][..])?;
            Ok(())
        },
    },
    Key {
        name: "sides",
        values: "client|server|client+server",
        help: "which sides of a call to generate (default: both)",
        set: |options, value| {
            let names = ["client", "server"];
            options.sides = pick(value, names).ok_or(&["client", "server", "client+server"][..])?;
            Ok(())
        },
    },
    Key {
        name: "messages",
        values: "protobuf|prost|buffa|none",
        help: "whose generator makes the message types in the same run: rust-protobuf's \
               (default), prost's, buffa's, or nobody's",
        set: |options, value| {
            options.messages = match backend(value) {
                Some(backend) => Some(backend),
                None if value == "none" => None,
                None => return Err(&["protobuf", "prost", "buffa", "none"]),
            };
            Ok(())
        },
    },
    Key {
        name: "message_path",
        values: "<Rust path>",
        help: "with `messages=none`: the module that holds the message modules, such as \
               `crate::protos`",
        set: |options, value| {
            if !is_rust_path(value) {
                return Err(&["crate::protos"]);
            }
            options.message_path = value.to_owned();
            Ok(())
        },
    },
    Key {
        name: "codec",
        values: "protobuf|prost|buffa",
        help: "with `messages=none`: whose messages these are (default: `protobuf`)",
        set: |options, value| {
            options.codec = Some(backend(value).ok_or(&["protobuf", "prost", "buffa"][..])?);
            Ok(())
        },
    },
    Key {
        name: "extern_path",
        values: "<.proto name>=<Rust path>",
        help: "take the messages of a package, or one message, from elsewhere, such as \
               `.google.rpc=::googleapis::google::rpc`; any number of times",
        set: |options, value| {
            let pair = value
                .split_once('=')
                .map(|(proto, rust)| (proto.trim(), rust.trim()));
            match pair {
                Some((proto, rust))
                    if is_full_name(proto) && is_absolute(rust) && is_rust_path(rust) =>
                {
                    let pair = (proto.to_owned(), rust.to_owned());
                    options.extern_paths.push(pair);
                    Ok(())
                }
                _ => Err(&[".package.Message=::path::to::Message"]),
            }
        },
    },
    Key {
        name: "runtime_path",
        values: "<Rust path>",
        help: "the crate `ttrpc-runtime` as the generated code sees it (default: \
               `::ttrpc_runtime`), such as `::toolkit::ttrpc`",
        set: |options, value| {
            if !is_rust_path(value) || !is_absolute(value) {
                return Err(&["::ttrpc_runtime"]);
            }
            options.runtime_path = value.to_owned();
            Ok(())
        },
    },
    Key {
        name: "file_suffix",
        values: "<suffix>",
        help: "what a file of services is called after its .proto file (default: `_ttrpc`)",
        set: |options, value| {
            if value.is_empty()
                || !value
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_')
            {
                return Err(&["_ttrpc"]);
            }
            options.file_suffix = value.to_owned();
            Ok(())
        },
    },
    Key {
        name: "service_prefix",
        values: "<prefix>",
        help: "what the Rust names of services begin with; those on the wire stay",
        set: |options, value| {
            if !names::is_name(value) || !value.starts_with(|c: char| c.is_ascii_uppercase()) {
                return Err(&["Ttrpc"]);
            }
            options.service_prefix = value.to_owned();
            Ok(())
        },
    },
    Key {
        name: "required_methods",
        values: "true|false",
        help: "have a compiler insist on every method of a service, instead of answering \
               UNIMPLEMENTED for those left out (default: `false`)",
        set: |options, value| set_bool(&mut options.required_methods, value),
    },
    Key {
        name: "trait_attribute",
        values: "[<service>=]<attribute>",
        help: "an attribute on the traits, such as `#[doc(alias = \"rpc\")]`, or on that of one \
               service, `.package.Service=#[...]`; any number of times",
        set: |options, value| {
            let (service, attribute) = match value.split_once('=') {
                Some((service, attribute)) if service.starts_with('.') => {
                    (service.trim(), attribute.trim())
                }
                _ => ("", value),
            };
            let is_valid = service.is_empty() || is_full_name(service);
            if !is_valid || crate::emit::attributes(attribute).is_err() {
                return Err(&["#[doc(alias = \"rpc\")]"]);
            }
            let pair = (service.to_owned(), attribute.to_owned());
            options.trait_attributes.push(pair);
            Ok(())
        },
    },
    Key {
        name: "modules",
        values: "file|path",
        help: "name modules after a .proto file alone (default), and after its path only where two \
               of one name meet; or always after its path, which no other run can upset",
        set: |options, value| {
            options.path_modules = match value {
                "file" => false,
                "path" => true,
                _ => return Err(&["file", "path"]),
            };
            Ok(())
        },
    },
    Key {
        name: "mod_rs",
        values: "true|false",
        help: "write a `mod.rs` that has the generated modules (default: `false` under protoc and \
               buf, `true` for `compile` and in build scripts)",
        set: |options, value| set_bool(&mut options.mod_rs, value),
    },
];

/// Sets one option.
pub(super) fn set(options: &mut Options, key: &str, value: &str) -> Result<(), Problem> {
    let Some(known) = KEYS.iter().find(|known| known.name == key) else {
        let names = KEYS.iter().map(|known| known.name);
        return Err(Problem::new(
            format!("there is no option `{key}`"),
            format!("the nearest is `{}`", nearest(key, names)),
        ));
    };
    (known.set)(options, value).map_err(|valid| {
        let valid = valid.iter().copied();
        Problem::new(
            format!("option `{key}` can't be `{value}`"),
            format!(
                "it takes `{}`, such as `{}`",
                known.values,
                nearest(value, valid)
            ),
        )
    })
}

/// What the options call it.
pub(super) fn name(backend: Backend) -> &'static str {
    let known = BACKENDS.iter().find(|(_, known)| *known == backend);
    known.map_or("none", |(name, _)| name)
}

/// The options as the help of the command line shows them, one a paragraph.
pub fn help() -> String {
    let mut text = String::new();
    for Key {
        name, values, help, ..
    } in KEYS
    {
        text.push_str(&format!("  {name}={values}\n"));
        let mut line = String::new();
        for word in help.replace('`', "").split_whitespace() {
            if line.len() + word.len() > 66 {
                text.push_str(&format!("          {line}\n"));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        text.push_str(&format!("          {line}\n"));
    }
    text
}

/// The options as a table in Markdown.
#[cfg(test)]
pub(super) fn table() -> String {
    let mut text = "| option | values | what it does |\n|---|---|---|\n".to_owned();
    for Key {
        name, values, help, ..
    } in KEYS
    {
        let values = values.replace('|', "\\|");
        text.push_str(&format!("| `{name}` | `{values}` | {help} |\n"));
    }
    text
}

fn nearest<'a>(word: &str, valid: impl Iterator<Item = &'a str>) -> &'a str {
    valid
        .min_by_key(|valid| strsim::osa_distance(word, valid))
        .unwrap_or_default()
}

fn backend(name: &str) -> Option<Backend> {
    let (_, backend) = BACKENDS.iter().find(|(known, _)| *known == name)?;
    Some(*backend)
}

fn set_bool(option: &mut bool, value: &str) -> Result<(), &'static [&'static str]> {
    *option = match value {
        "true" => true,
        "false" => false,
        _ => return Err(&["true", "false"]),
    };
    Ok(())
}

/// One or both of two, joined by `+`: a comma separates options.
fn pick(value: &str, [first, second]: [&str; 2]) -> Option<Pick> {
    let words: Vec<&str> = value.split('+').map(str::trim).collect();
    let known = words.iter().all(|word| *word == first || *word == second);
    known.then(|| Pick {
        first: words.contains(&first),
        second: words.contains(&second),
    })
}

/// Whether this is a full name of .proto, with the dot in front.
fn is_full_name(text: &str) -> bool {
    let name = text.strip_prefix('.');
    name.is_some_and(|name| name.split('.').all(names::is_name))
}

/// Whether a path means the same in every module.
fn is_absolute(path: &str) -> bool {
    path.starts_with("::") || path.split("::").next() == Some("crate")
}

/// Whether this is a path to a module: names only, without blanks or comments, optionally
/// absolute.
fn is_rust_path(text: &str) -> bool {
    let path = text.strip_prefix("::").unwrap_or(text);
    let is_name = |name| syn::parse_str::<syn::Ident>(name).is_ok_and(|ident| ident == name);
    let is_module = |name| matches!(name, "crate" | "self" | "super") || is_name(name);
    path.split("::").all(is_module)
}
