//! Bytes as text: hex, `00*16` for a run, `"text"`, and a comment behind a `#`.

/// Reads bytes up to a comment; also gives the text that they were read from.
pub fn read(text: &str) -> (Vec<u8>, &str) {
    let mut bytes = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        rest = match rest.strip_prefix('"') {
            Some(quoted) => read_quoted(quoted, &mut bytes),
            None => {
                let (word, rest) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
                let (word, count) = word.split_once('*').unwrap_or((word, "1"));
                let count = count.parse().unwrap_or_else(|_| panic!("no count: {text}"));
                bytes.extend(read_hex(word).repeat(count));
                rest
            }
        };
        rest = rest.trim_start();
    }
    (bytes, text[..text.len() - rest.len()].trim())
}

/// Reads up to the closing quote and gives what is behind it.
fn read_quoted<'a>(text: &'a str, bytes: &mut Vec<u8>) -> &'a str {
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        let c = match c {
            '"' => return &text[at + 1..],
            '\\' => chars.next().map_or(c, |(_, c)| c),
            c => c,
        };
        bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    panic!("a quote without an end: {text}");
}

fn read_hex(word: &str) -> Vec<u8> {
    let digit = |c: char| c.to_digit(16).unwrap_or_else(|| panic!("no hex: {word}")) as u8;
    let digits: Vec<u8> = word.chars().map(digit).collect();
    assert!(digits.len() % 2 == 0, "half a byte: {word}");
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes in the shortest way that can be read.
pub fn write(bytes: &[u8]) -> String {
    match (bytes, std::str::from_utf8(bytes)) {
        ([], _) => String::new(),
        ([first, ..], _) if bytes.len() >= 16 && bytes.iter().all(|byte| byte == first) => {
            format!("{first:02x}*{}", bytes.len())
        }
        (_, Ok(text)) if !text.contains(char::is_control) => {
            format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
        }
        _ => hex(bytes),
    }
}

/// A frame: the four fields of its header, then its data, field by field if it has any.
pub fn write_frame(frame: &[u8]) -> String {
    let Some((header, data)) = frame.split_first_chunk::<10>() else {
        return write(frame);
    };
    let [a, b, c, d, e, f, g, h, message_type, flags] = *header;
    let header = [&[a, b, c, d][..], &[e, f, g, h], &[message_type], &[flags]].map(hex);
    // Messages within: the metadata of a Request; the status of a Response, its details.
    let data = match message_type {
        1 => write_message(data, &[5]),
        2 => write_message(data, &[1, 3]),
        _ => None,
    }
    .unwrap_or_else(|| vec![write(data)]);
    let written = [&header[..], &data].concat().join(" ").trim().to_owned();
    assert!(read(&written).0 == frame, "{written}");
    written
}

/// A protobuf message whose field `nested[0]` is one too; `None` if it is none.
fn write_message(mut data: &[u8], nested: &[u8]) -> Option<Vec<String>> {
    let mut words = Vec::new();
    while let [tag, rest @ ..] = data {
        let end = 1 + rest.iter().position(|byte| *byte < 0x80)?;
        let (number, rest) = rest.split_at(end);
        words.push(hex(&[&[*tag], number].concat()));
        data = rest;
        if tag & 7 == 2 {
            let len = number
                .iter()
                .rev()
                .fold(0, |len, byte| len << 7 | usize::from(byte & 0x7f));
            let (value, rest) = data.split_at_checked(len)?;
            let inner = match nested {
                [field, within @ ..] if *field == tag >> 3 => write_message(value, within),
                _ => None,
            };
            words.extend(inner.unwrap_or_else(|| vec![write(value)]));
            data = rest;
        }
    }
    words.retain(|word| !word.is_empty());
    Some(words)
}
