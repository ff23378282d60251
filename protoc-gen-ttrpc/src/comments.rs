//! Comments of a .proto file as rustdoc that nothing trips over.
//!
//! They become Markdown, and were not written as such for sure. Paragraphs, lists,
//! fenced blocks and inline code are kept. What rustc, rustdoc or clippy would
//! complain about is not: characters that hide text, blocks that would run as
//! tests, links to nowhere, HTML that isn't, lists with a crooked indentation.

/// The lines of a comment as documentation; none where it says nothing.
pub(crate) fn document(comment: &str) -> Vec<String> {
    let lines = clean(comment);
    let texts = lines.iter().filter(|line| !line.is_empty());
    let margin = texts.map(|line| indent(line)).min().unwrap_or(0);

    let mut document = Document::default();
    for line in &lines {
        document.line(line.get(margin..).unwrap_or_default());
    }
    document.finish()
}

/// Splits into lines without trailing blanks, tabs, and characters that rustc or a
/// reader would stumble over.
fn clean(comment: &str) -> Vec<String> {
    let hides_text = |c: char| {
        let is_bidi = matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
        is_bidi || (c.is_control() && c != '\t')
    };
    let comment = comment.replace("\r\n", "\n").replace('\r', "\n");
    let clean = |line: &str| {
        let line = line.replace('\t', "    ").replace(hides_text, "");
        line.trim_end().to_owned()
    };
    comment.lines().map(clean).collect()
}

/// How far a line is indented: in blanks, which are one byte each, as those of other scripts
/// are not.
fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Markdown in the making.
#[derive(Default)]
struct Document {
    lines: Vec<String>,
    block: Option<Block>,
    /// The items of lists that the next line is in, the innermost last.
    items: Vec<Item>,
}

/// A block of text that is kept as it is.
enum Block {
    /// As the comment has it: which closing fence ends it.
    Fenced { fence: String, margin: usize },
    /// Made of an indented one.
    Indented { margin: usize },
}

/// Where the text of an item begins, in the comment and in the documentation.
struct Item {
    from: usize,
    to: usize,
}

impl Document {
    fn line(&mut self, line: &str) {
        let indent = indent(line);
        let text = &line[indent..];
        match &self.block {
            Some(Block::Fenced { fence, .. }) if closes(text, fence) => return self.close(),
            Some(Block::Indented { margin }) if !text.is_empty() && indent < *margin => {
                self.close();
            }
            Some(Block::Fenced { margin, .. } | Block::Indented { margin }) => {
                return self.push(line.get(indent.min(*margin)..).unwrap_or_default());
            }
            None => {}
        }

        let begins = self.lines.last().is_none_or(|last| last.trim().is_empty());
        if text.is_empty() {
            if !begins {
                self.push("");
            }
        } else if let Some(fence) = fence(text) {
            self.leave(indent);
            self.open(Block::Fenced {
                fence: fence.to_owned(),
                margin: indent,
            });
        } else if let Some((marker, rest)) = item(text).filter(|(marker, _)| {
            // Only a list that starts at 1 may interrupt a paragraph.
            begins || !self.items.is_empty() || !marker.ends_with(['.', ')']) || *marker == "1."
        }) {
            self.leave(indent);
            self.push(&format!("{marker} {}", content(rest)));
            self.items.push(Item {
                from: indent + text.len() - rest.len(),
                to: self.margin() + marker.len() + 1,
            });
        } else {
            if begins {
                self.leave(indent);
            }
            let margin = self.items.last().map_or(0, |item| item.from);
            if begins && indent >= margin + 4 {
                self.open(Block::Indented { margin: margin + 4 });
                self.push(line.get(margin + 4..).unwrap_or_default());
            } else {
                self.push(&inline(text));
            }
        }
    }

    /// Leaves the items of lists that a line with this indentation is not in.
    fn leave(&mut self, indent: usize) {
        while self.items.last().is_some_and(|item| indent < item.from) {
            self.items.pop();
        }
    }

    fn margin(&self) -> usize {
        self.items.last().map_or(0, |item| item.to)
    }

    fn push(&mut self, line: &str) {
        let margin = self.margin();
        self.lines.push(match line {
            "" => String::new(),
            line => format!("{:margin$}{line}", ""),
        });
    }

    /// Opens a block that rustdoc doesn't take for Rust.
    fn open(&mut self, block: Block) {
        let fence = match &block {
            Block::Fenced { fence, .. } => fence,
            Block::Indented { .. } => INDENTED_FENCE,
        };
        self.push(&format!("{fence}text"));
        self.block = Some(block);
    }

    fn close(&mut self) {
        match self.block.take() {
            None => {}
            Some(Block::Fenced { fence, .. }) => self.push(&fence),
            Some(Block::Indented { .. }) => {
                let blanks = self.drop_blanks();
                self.push(INDENTED_FENCE);
                self.lines.extend(vec![String::new(); blanks]);
            }
        }
    }

    fn finish(mut self) -> Vec<String> {
        self.close();
        self.drop_blanks();
        self.lines
    }

    /// Drops the blank lines at the end, and says how many there were.
    fn drop_blanks(&mut self) -> usize {
        let lines = self.lines.len();
        while self.lines.last().is_some_and(String::is_empty) {
            self.lines.pop();
        }
        lines - self.lines.len()
    }
}

/// Long enough for whatever is in an indented block.
const INDENTED_FENCE: &str = "``````";

/// The fence that a line opens a block with.
fn fence(text: &str) -> Option<&str> {
    let character = text.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let length = text.len() - text.trim_start_matches(character).len();
    let (fence, info) = text.split_at(length);
    (length >= 3 && !info.contains('`')).then_some(fence)
}

fn closes(text: &str, fence: &str) -> bool {
    let is_fence = |c| fence.starts_with(c);
    text.starts_with(fence) && text.chars().all(is_fence)
}

/// The marker and the text of a list's item.
fn item(text: &str) -> Option<(&str, &str)> {
    let (marker, rest) = text.split_once(' ')?;
    let number = marker.strip_suffix(['.', ')']).unwrap_or_default();
    let is_number = (1..=9).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    let rest = rest.trim_start();
    (matches!(marker, "-" | "*" | "+") || is_number).then_some((marker, rest))
}

/// The text of an item, in which no other list begins.
fn content(text: &str) -> String {
    let marker = item(text).map_or("", |(marker, _)| marker);
    match marker.chars().last() {
        Some(last) => {
            let (number, rest) = text.split_at(marker.len() - last.len_utf8());
            format!("{number}\\{}", inline(rest))
        }
        None => inline(text),
    }
}

/// A line of prose: what isn't inline code means nothing but itself.
fn inline(text: &str) -> String {
    let mut safe = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if let Some(length) = code(rest) {
            safe.push_str(&rest[..length]);
            length
        } else if let Some(length) = url(rest) {
            safe.push_str(&format!("<{}>", &rest[..length]));
            // One that is in brackets already.
            let bracketed = safe.len() - length - 2;
            if safe[..bracketed].ends_with("\\<") && rest[length..].starts_with('>') {
                safe.replace_range(bracketed - 2..bracketed, "");
                length + 1
            } else {
                length
            }
        } else {
            let begins = rest.len() == text.len();
            if matches!(first, '`' | '[' | ']' | '<' | '\\') || (begins && first == '>') {
                safe.push('\\');
            }
            safe.push(first);
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    safe
}

/// The length of the inline code that the text begins with.
fn code(text: &str) -> Option<usize> {
    let run = |text: &str| text.len() - text.trim_start_matches('`').len();
    let opening = run(text);
    if opening == 0 {
        return None;
    }
    let mut end = opening;
    loop {
        end += text[end..].find('`')?;
        let closing = run(&text[end..]);
        end += closing;
        if closing == opening {
            return Some(end);
        }
    }
}

/// The length of the address that the text begins with.
fn url(text: &str) -> Option<usize> {
    let scheme = ["https://", "http://"]
        .iter()
        .find(|s| text.starts_with(**s))?;
    let ends = |c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | '`' | '[' | ']' | '\\');
    let address = &text[..text.find(ends).unwrap_or(text.len())];
    let is_open = address.contains('(');
    let ends_sentence = |c: char| ".,;:!?'*_".contains(c) || (c == ')' && !is_open);
    let address = address.trim_end_matches(ends_sentence);
    (address.len() > scheme.len()).then_some(address.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(comment: &str, expected: &str) {
        let lines = document(comment);
        assert_eq!(lines.join("\n"), expected);
        // What is documentation already stays as it is, but for escapes.
        if !expected.contains(['\\', '<']) {
            assert_eq!(document(expected), lines);
        }
    }

    #[test]
    fn paragraphs_lose_their_margin() {
        check(" One.\n\n Two,\n still two.\n", "One.\n\nTwo,\nstill two.");
        check(" \n\n", "");
        check(" One.\n\n\n\n Two.\n \n", "One.\n\nTwo.");
        check(" One,\n     crooked.\n", "One,\ncrooked.");
        check("\u{3000}一。\n Two.\n", "\u{3000}一。\nTwo.");
    }

    #[test]
    fn characters_that_hide_text_go() {
        check(
            " a\u{202E}b\u{2066}c\u{0}d\te \r f\r\n g",
            "abcd    e\nf\ng",
        );
    }

    #[test]
    fn no_block_runs_as_a_test() {
        check(" ```\n  let a\n ```\n", "```text\n let a\n```");
        check(" ```rust\n let <a>\n", "```text\nlet <a>\n```");
        check(" ~~~no_run\n b\n ~~~~\n c", "~~~text\nb\n~~~\nc");
        check(
            " See\n\n     a [b]\n       c\n\n     d\n\n e\n",
            "See\n\n``````text\na [b]\n  c\n\nd\n``````\n\ne",
        );
    }

    #[test]
    fn lists_are_straightened() {
        check(
            " - one\n still\n -   two\n      still\n",
            "- one\n  still\n- two\n  still",
        );
        check(
            " 1. a\n    - b\n      c\n\n    d\n 2. e",
            "1. a\n   - b\n     c\n\n   d\n2. e",
        );
        check(" In\n 2019. Then", "In\n2019. Then");
        check(" * a\n\n b", "* a\n\nb");
        check(" - - a\n   b\n - 1. c\n   d", "- \\- a\n  b\n- 1\\. c\n  d");
        check(
            " - a\n\n       code\n",
            "- a\n\n  ``````text\n  code\n  ``````",
        );
    }

    #[test]
    fn prose_means_itself() {
        check(" [x] Vec<T> a\\b", "\\[x\\] Vec\\<T> a\\\\b");
        check(" `[x]` ``a`b`` `open", "`[x]` ``a`b`` \\`open");
        check(" > quote", "\\> quote");
    }

    #[test]
    fn addresses_are_links() {
        check(
            " See (https://example.com/a_b), http://example.org.",
            "See (<https://example.com/a_b>), <http://example.org>.",
        );
        check(" <https://example.com>", "<https://example.com>");
    }
}
