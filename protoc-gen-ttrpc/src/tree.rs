//! `mod.rs`: a module that has all the generated ones.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::output::Output;
use crate::text;

/// Its name.
pub(crate) const MOD_RS: &str = "mod.rs";

/// What is excused in all modules: lints that are matters of taste, or of who uses the modules.
const ALLOW: &str = "#[allow(clippy::nursery, clippy::pedantic, let_underscore_drop, \
     unnameable_types, unreachable_pub)]";

/// A module, and those in it.
#[derive(Default)]
struct Node<'a> {
    output: Option<&'a Output>,
    modules: BTreeMap<&'a str, Node<'a>>,
}

/// Makes the `mod.rs` of these files.
pub(crate) fn mod_rs(outputs: &[Output]) -> Output {
    let mut root = Node::default();
    for output in outputs {
        let mut node = &mut root;
        for module in &output.module {
            node = node.modules.entry(module).or_default();
        }
        node.output = Some(output);
    }
    let mut content = text::header(None);
    if let Some(output) = root.output {
        let _ = write!(content, "\ninclude!({:?});\n", output.name);
    }
    for (name, node) in &root.modules {
        declare(&mut content, 0, name, node, &mut vec![name]);
    }
    Output {
        name: MOD_RS.to_owned(),
        module: Vec::new(),
        docs: String::new(),
        content,
    }
}

/// Declares a module: by its file, if it is nothing else, or in place.
fn declare<'a>(
    text: &mut String,
    depth: usize,
    name: &str,
    node: &Node<'a>,
    path: &mut Vec<&'a str>,
) {
    let indent = "    ".repeat(depth);
    let docs = match node.output {
        Some(output) => output.docs.clone(),
        None => format!("Packages in `{}`.", path.join(".").replace("r#", "")),
    };
    let _ = write!(text, "\n{indent}/// {docs}");
    if depth == 0 {
        let _ = write!(text, "\n{ALLOW}");
    }
    // A file may be called as no module would be.
    if name.contains(|c: char| c.is_ascii_uppercase()) || name.trim_matches('_').contains("__") {
        let _ = write!(text, "\n{indent}#[allow(non_snake_case)]");
    }
    let is_file = |output: &&Output| {
        depth == 0 && node.modules.is_empty() && output.name.strip_suffix(".rs") == Some(name)
    };
    if node.output.as_ref().is_some_and(is_file) {
        // What is compared with what would be generated must not be formatted anew.
        let _ = writeln!(text, "\n#[rustfmt::skip]\npub mod {name};");
        return;
    }
    let _ = writeln!(text, "\n{indent}pub mod {name} {{");
    if let Some(output) = node.output {
        let _ = writeln!(text, "{indent}    include!({:?});", output.name);
    }
    for (index, (name, node)) in node.modules.iter().enumerate() {
        let before = text.len();
        path.push(name);
        declare(text, depth + 1, name, node, path);
        path.pop();
        // Nothing stands before the first.
        if index == 0 && text[..before].ends_with("{\n") {
            text.remove(before);
        }
    }
    let _ = writeln!(text, "{indent}}}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_module_would_have_are_excused() {
        for (name, is_excused) in [
            ("greeter", false),
            ("_st__", false),
            ("Greeter", true),
            ("foo__bar", true),
        ] {
            let output = Output {
                name: format!("{name}.rs"),
                module: vec![name.to_owned()],
                docs: String::new(),
                content: String::new(),
            };
            let text = mod_rs(&[output]).content;
            assert_eq!(text.contains("non_snake_case"), is_excused, "{name}");
        }
    }
}
