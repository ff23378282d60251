//! Names: from .proto to Rust, and from .proto to what rust-protobuf makes of it.

use heck::{ToSnakeCase, ToUpperCamelCase};
use proc_macro2::{Ident, Span};

/// Whether protoc would take this as a name; everything else stays out of Rust.
pub(crate) fn is_name(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit())
}

/// The trait of a service: as written, as far as Rust's lints allow, behind a prefix.
pub(crate) fn service(name: &str, prefix: &str) -> String {
    let mut camel: String = name.split('_').map(capitalize).collect();
    let is_acronym = camel.len() > 2 && !camel.contains(|c: char| c.is_ascii_lowercase());
    if is_acronym {
        camel = capitalize(&camel.to_ascii_lowercase());
    }
    match camel.chars().next() {
        None => format!("{prefix}Service"),
        Some(first) if first.is_ascii_digit() => format!("{prefix}Service{camel}"),
        Some(_) => format!("{prefix}{camel}"),
    }
}

/// The method of an rpc, in snake case.
pub(crate) fn method(name: &str) -> String {
    let mut snake = String::new();
    let characters: Vec<char> = name.chars().collect();
    for (index, &this) in characters.iter().enumerate() {
        let previous = index.checked_sub(1).map(|index| characters[index]);
        let next_is_lower = characters
            .get(index + 1)
            .is_some_and(|next| next.is_ascii_lowercase());
        let begins_word = match previous {
            Some(previous) if this.is_ascii_uppercase() => {
                previous.is_ascii_lowercase()
                    || previous.is_ascii_digit()
                    || (previous.is_ascii_uppercase() && next_is_lower)
            }
            _ => false,
        };
        let doubled = this == '_' && !snake.is_empty() && snake.ends_with('_');
        if begins_word {
            snake.push('_');
        }
        if !doubled {
            snake.push(this.to_ascii_lowercase());
        }
    }
    escape(&snake)
}

/// The constant of an rpc, by its method.
pub(crate) fn constant(method: &str) -> String {
    let word = method.strip_prefix("r#").unwrap_or(method);
    word.to_ascii_uppercase()
}

/// The name under which a Go server registers an rpc.
pub(crate) fn go_method(name: &str) -> String {
    let mut go = String::new();
    let mut previous = None;
    let mut characters = name.chars().peekable();
    while let Some(this) = characters.next() {
        let before_lower = characters.peek().is_some_and(char::is_ascii_lowercase);
        match (previous, this) {
            (None, '_') => go.push('X'),
            (Some(_), '_') if before_lower => {}
            (None | Some('_' | '0'..='9'), _) => go.push(this.to_ascii_uppercase()),
            (Some(_), _) => go.push(this),
        }
        previous = Some(this);
    }
    go
}

/// The name of a .proto file as a stem of file names: `a/foo-bar.proto` is `foo_bar`.
pub(crate) fn stem(proto_file: &str) -> String {
    let base = proto_file.rsplit('/').next().unwrap_or(proto_file);
    let base = base.strip_suffix(".proto").unwrap_or(base);
    let valid = |(index, c): (usize, char)| match c {
        'a'..='z' | 'A'..='Z' | '_' => c,
        '0'..='9' if index > 0 => c,
        _ => '_',
    };
    base.chars().enumerate().map(valid).collect()
}

/// The path of a message in its module, as rust-protobuf has it.
pub(crate) fn message_path(names: &[&str]) -> String {
    nested(names, protobuf_nested, |message| {
        protobuf_name(&capitalize(message))
    })
}

/// The module of what is nested in a message, as rust-protobuf has it.
pub(crate) fn protobuf_nested(message: &str) -> String {
    protobuf_name(&protobuf_parse::snake_case(message))
}

/// The files whose messages are in the crate `protobuf` itself, and where.
const WELL_KNOWN: &[(&str, &str)] = &[
    (
        "google/protobuf/any.proto",
        "::protobuf::well_known_types::any",
    ),
    (
        "google/protobuf/api.proto",
        "::protobuf::well_known_types::api",
    ),
    ("google/protobuf/descriptor.proto", "::protobuf::descriptor"),
    (
        "google/protobuf/duration.proto",
        "::protobuf::well_known_types::duration",
    ),
    (
        "google/protobuf/empty.proto",
        "::protobuf::well_known_types::empty",
    ),
    (
        "google/protobuf/field_mask.proto",
        "::protobuf::well_known_types::field_mask",
    ),
    (
        "google/protobuf/source_context.proto",
        "::protobuf::well_known_types::source_context",
    ),
    (
        "google/protobuf/struct.proto",
        "::protobuf::well_known_types::struct_",
    ),
    (
        "google/protobuf/timestamp.proto",
        "::protobuf::well_known_types::timestamp",
    ),
    (
        "google/protobuf/type.proto",
        "::protobuf::well_known_types::type_",
    ),
    (
        "google/protobuf/wrappers.proto",
        "::protobuf::well_known_types::wrappers",
    ),
    ("rustproto.proto", "::protobuf::rustproto"),
];

/// The module of the crate `protobuf` that has the messages of this file, if any.
pub(crate) fn well_known(proto_file: &str) -> Option<&'static str> {
    let (_, module) = WELL_KNOWN.iter().find(|(file, _)| *file == proto_file)?;
    Some(module)
}

/// Whether this file declares features of editions for another language. It is imported for
/// options alone, and extends a message that is younger than rust-protobuf.
pub(crate) fn is_features(proto_file: &str) -> bool {
    proto_file.starts_with("google/protobuf/") && proto_file.ends_with("_features.proto")
}

/// What prost takes for messages that it has no type of its own for.
pub(crate) const PROST_NATIVE: [(&str, &str); 10] = [
    ("Empty", "()"),
    ("BoolValue", "bool"),
    ("BytesValue", "::prost::alloc::vec::Vec<u8>"),
    ("DoubleValue", "f64"),
    ("FloatValue", "f32"),
    ("Int32Value", "i32"),
    ("Int64Value", "i64"),
    ("StringValue", "::prost::alloc::string::String"),
    ("UInt32Value", "u32"),
    ("UInt64Value", "u64"),
];

/// The path of a message in the module of its package, as prost has it.
pub(crate) fn prost_path(names: &[&str]) -> String {
    nested(names, prost_module, prost_type)
}

/// A module by prost: of a package's segment, or of what is nested in a message.
pub(crate) fn prost_module(name: &str) -> String {
    prost_escape(&name.to_snake_case())
}

/// A type by prost.
pub(crate) fn prost_type(name: &str) -> String {
    prost_escape(&name.to_upper_camel_case())
}

fn prost_escape(name: &str) -> String {
    match name {
        "extern" => format!("{name}_"),
        _ if name.starts_with(|c: char| c.is_ascii_digit()) => format!("_{name}"),
        _ => escape(name),
    }
}

/// What is nested in a message is in a module with the name of the message.
fn nested(
    names: &[&str],
    module: impl Fn(&str) -> String,
    message: impl Fn(&str) -> String,
) -> String {
    let Some((last, parents)) = names.split_last() else {
        return String::new();
    };
    let parents = parents.iter().map(|parent| module(parent) + "::");
    parents.chain([message(last)]).collect()
}

/// An identifier or a word of a path; `r#` makes it a raw one.
pub(crate) fn ident(word: &str) -> Ident {
    match word.strip_prefix("r#") {
        Some(raw) => Ident::new_raw(raw, Span::call_site()),
        None => Ident::new(word, Span::call_site()),
    }
}

/// Makes a keyword of any edition usable as a name, and what is left of `_` as well.
pub(crate) fn escape(word: &str) -> String {
    match word {
        "" | "_" => "__".to_owned(),
        "self" | "Self" | "super" | "crate" => format!("{word}_"),
        // syn knows the keywords, except for the youngest one.
        "gen" => "r#gen".to_owned(),
        _ if syn::parse_str::<Ident>(word).is_err() => format!("r#{word}"),
        _ => word.to_owned(),
    }
}

/// The name that rust-protobuf makes of a word, usable in any edition; it suffixes its
/// keywords with `_`.
pub(crate) fn protobuf_name(word: &str) -> String {
    // Its list of keywords is private; its name for a file of that name is not.
    let file = protobuf_codegen::proto_name_to_rs(&format!("{word}.proto"));
    let name = file.strip_suffix(".rs").unwrap_or(&file);
    // The list lacks `gen` and `try`, which are left as they are.
    escape(name)
}

fn capitalize(word: &str) -> String {
    let mut characters = word.chars();
    match characters.next() {
        Some(first) => first.to_ascii_uppercase().to_string() + characters.as_str(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn table(name: fn(&str) -> String, rows: &[(&str, &str)]) {
        for (proto, rust) in rows {
            assert_eq!(name(proto), *rust, "of `{proto}`");
        }
    }

    #[test]
    fn services() {
        assert_eq!(service("CRI", "Ttrpc"), "TtrpcCri");
        table(
            |name| service(name, ""),
            &[
                ("Greeter", "Greeter"),
                ("CRIService", "CRIService"),
                ("CRI", "Cri"),
                ("V1", "V1"),
                ("greeter", "Greeter"),
                ("image_service", "ImageService"),
                ("Self", "Self"),
                ("_", "Service"),
                ("_1", "Service1"),
            ],
        );
    }

    #[test]
    fn methods() {
        table(
            method,
            &[
                ("SayHello", "say_hello"),
                ("sayHello", "say_hello"),
                ("say_hello", "say_hello"),
                ("GetHTTPInfo", "get_http_info"),
                ("HTTP", "http"),
                ("ListV2", "list_v2"),
                ("V2List", "v2_list"),
                ("Say__Hello", "say_hello"),
                ("Move", "r#move"),
                ("Try", "r#try"),
                ("Gen", "r#gen"),
                ("Await", "r#await"),
                ("Self", "self_"),
                ("Super", "super_"),
                ("_hidden", "_hidden"),
                ("_", "__"),
            ],
        );
    }

    #[test]
    fn constants() {
        table(
            |name| constant(&method(name)),
            &[
                ("SayHello", "SAY_HELLO"),
                ("Type", "TYPE"),
                ("Self", "SELF_"),
                ("_hidden", "_HIDDEN"),
                ("_", "__"),
            ],
        );
    }

    #[test]
    fn go_methods() {
        table(
            go_method,
            &[
                ("SayHello", "SayHello"),
                ("sayHello", "SayHello"),
                ("say_hello", "SayHello"),
                ("say_Hello", "Say_Hello"),
                ("get_2d", "Get_2D"),
                ("HTTPGet", "HTTPGet"),
                ("_hidden", "XHidden"),
                ("trailing_", "Trailing_"),
            ],
        );
    }

    #[test]
    fn files() {
        table(
            |file| protobuf_name(&stem(file)),
            &[
                ("greeter.proto", "greeter"),
                ("a/b/foo-bar.v1.proto", "foo_bar_v1"),
                ("1st.proto", "_st"),
                ("type.proto", "type_"),
                ("gen.proto", "r#gen"),
                ("mod.proto", "mod_"),
                ("plain", "plain"),
            ],
        );
    }

    #[test]
    fn messages() {
        assert_eq!(message_path(&["Point"]), "Point");
        assert_eq!(message_path(&["inner_msg"]), "Inner_msg");
        assert_eq!(message_path(&["self"]), "Self_");
        assert_eq!(
            message_path(&["HTTPResponse", "Header"]),
            "httpresponse::Header"
        );
        assert_eq!(
            message_path(&["OuterMsg", "Type", "In"]),
            "outer_msg::type_::In"
        );
    }

    #[test]
    fn messages_by_prost() {
        assert_eq!(prost_path(&["inner_msg"]), "InnerMsg");
        assert_eq!(prost_path(&["self"]), "Self_");
        assert_eq!(prost_path(&["HTTPResponse", "_1"]), "http_response::_1");
        assert_eq!(prost_path(&["Type", "In"]), "r#type::In");
        assert_eq!(prost_module("extern"), "extern_");
        assert_eq!(prost_path(&["_", "_"]), "__::__");
    }
}
