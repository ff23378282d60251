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
    assert_eq!(parsed.messages, None);
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
            "option `mod_rs` can't be `yes`; it takes `true|false`, such as `true`",
            "option `messages` can't be `prtobuf`; it takes `protobuf|prost|buffa|none`, such as `protobuf`",
        ]
    );
}

#[test]
fn flavours_and_sides_are_lists() {
    let picked = |parameter: &str| {
        let Pick { first, second } = parse(parameter).unwrap().flavours;
        (first, second)
    };
    assert_eq!(picked("flavours=async"), (true, false));
    assert_eq!(picked("flavours=blocking"), (false, true));
    assert_eq!(picked("flavours=async+blocking"), (true, true));
    assert_eq!(picked("flavours=blocking + async"), (true, true));
    for value in ["", "+", "async+", "sync", "async,blocking"] {
        assert!(parse(&format!("flavours={value}")).is_err(), "{value}");
    }
}

#[test]
fn message_path_goes_with_messages_none() {
    assert!(parse("messages=none").is_err());
    assert!(parse("message_path=crate::protos").is_err());
    assert!(parse("codec=prost").is_err());
    assert!(parse("codec=prost,messages=prost").is_ok());
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

#[test]
fn extern_paths_add_up() {
    let parsed = parse("extern_path=.a.b=::a::b,extern_path=.c.D=crate::D").unwrap();
    let expected = [(".a.b", "::a::b"), (".c.D", "crate::D")];
    assert!(
        parsed
            .extern_paths
            .iter()
            .map(|(proto, rust)| (&**proto, &**rust))
            .eq(expected)
    );
    for value in [
        ".a",
        ".a=",
        "a=::a",
        ".a..b=::a",
        ".a=b-c",
        "=::a",
        ".a=b::c",
    ] {
        assert!(parse(&format!("extern_path={value}")).is_err(), "{value}");
    }
}

#[test]
fn attributes_are_for_all_or_for_one_service() {
    let parsed = parse("trait_attribute=#[cfg(test)],trait_attribute=.a.S=#[doc(alias = \"x\")]");
    let expected = [("", "#[cfg(test)]"), (".a.S", "#[doc(alias = \"x\")]")];
    let attributes = parsed.unwrap().trait_attributes;
    assert!(
        attributes
            .iter()
            .map(|(service, attribute)| (&**service, &**attribute))
            .eq(expected)
    );
    for value in ["cfg(test)", "#[cfg(test)", "#![cfg(test)]", ".a.S"] {
        assert!(
            parse(&format!("trait_attribute={value}")).is_err(),
            "{value}"
        );
    }
}

/// The table of the README and of the documentation is made of the definition.
#[test]
fn the_table_is_what_is_defined() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/options/table.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, keys::table()).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap();
    assert_eq!(committed, keys::table(), "`make golden` rewrites it");
}
