//! Bodies, times and ages as people read them in a terminal.

use std::fmt::Write;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};

use super::output::{escape, inline, steers};

/// Bytes shown of a body that is not text; `--body-only` has all of them.
const SHOWN: usize = 2048;

/// A body: JSON indented, other text as it is, the rest in hexadecimal.
pub(super) fn body(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => indented(text),
        Ok(text) => {
            let text = text.replace("\r\n", "\n");
            let plain = !text.contains(|c| steers(c) && c != '\n' && c != '\t');
            if plain { text.replace('\t', "    ") } else { hexadecimal(bytes) }
        }
        Err(_) => hexadecimal(bytes),
    }
}

/// A header in lines of its own: further in than its name, so that its value cannot look like another header.
pub(super) fn header(name: &str, value: Option<&[u8]>) -> String {
    let value = value.map_or_else(|| "null".to_owned(), body);
    format!("  {}: {}", inline(name), value.trim_end().replace('\n', "\n      "))
}

/// JSON with a line per value. Keys keep their order and numbers their digits: whoever looks at a
/// body that could not be read wants to see what it says, not what a parser made of it.
fn indented(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let mut depth = 0usize;
    let mut in_string = false;
    let mut characters = json.chars().peekable();
    let new_line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(c) = characters.next() {
        if in_string {
            if steers(c) {
                escape(&mut text, c);
                continue;
            }
            text.push(c);
            match c {
                '\\' => text.extend(characters.next()),
                '"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match c {
            '"' => {
                in_string = true;
                text.push(c);
            }
            '{' | '[' => {
                text.push(c);
                while characters.next_if(char::is_ascii_whitespace).is_some() {}
                match characters.next_if(|c| matches!(c, '}' | ']')) {
                    Some(end) => text.push(end),
                    None => {
                        depth += 1;
                        new_line(&mut text, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut text, depth);
                text.push(c);
            }
            ',' => {
                text.push(c);
                new_line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            _ if c.is_ascii_whitespace() => {}
            _ => text.push(c),
        }
    }
    text
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (line, chunk) in bytes[..bytes.len().min(SHOWN)].chunks(16).enumerate() {
        let _ = write!(text, "{:08x} ", line * 16);
        for at in 0..16 {
            let _ = match chunk.get(at) {
                Some(byte) => write!(text, " {byte:02x}"),
                None => write!(text, "   "),
            };
        }
        text.push_str("  ");
        text.extend(chunk.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' }));
        text.push('\n');
    }
    if bytes.len() > SHOWN {
        let _ = writeln!(text, "… and {} bytes more; `--body-only` prints all", bytes.len() - SHOWN);
    }
    text
}

/// Microseconds since 1970 as RFC 3339 in UTC, with as many digits as are not zero.
pub(super) fn time(micros: i64) -> String {
    DateTime::<Utc>::from_timestamp_micros(micros)
        .map_or_else(|| format!("{micros} µs"), |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// The time now, microseconds since 1970.
pub(super) fn now_micros() -> i64 {
    Utc::now().timestamp_micros()
}

/// A span of time in its two largest units: `3d 4h`, `12.3s`.
pub(super) fn age(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{:.1}s", span.as_secs_f64()),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// To a time in microseconds since 1970; `… ago` where it has passed.
pub(super) fn until(micros: i64, now: i64) -> String {
    let span = age(Duration::from_micros(now.abs_diff(micros)));
    if micros > now { format!("in {span}") } else { format!("{span} ago") }
}

/// Since a time in microseconds since 1970; `in …` where it is yet to come.
pub(super) fn since(micros: i64, now: i64) -> String {
    let span = age(Duration::from_micros(now.abs_diff(micros)));
    if micros > now { format!("in {span}") } else { span }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_without_touching_what_it_says() {
        assert_eq!(
            body(br#"{"b": 12345678901234567890.10, "a" : [ ], "c":["x:,{\"", {}]}"#),
            "{\n  \"b\": 12345678901234567890.10,\n  \"a\": [],\n  \"c\": [\n    \"x:,{\\\"\",\n    {}\n  ]\n}"
        );
    }

    #[test]
    fn bytes_are_shown_in_hexadecimal_and_no_control_character_reaches_the_terminal() {
        assert_eq!(body(b"plain text"), "plain text");
        let shown = body(b"\x1b[31mred\xff");
        assert!(
            shown.starts_with("00000000  1b 5b 33 31 6d 72 65 64 ff ") && shown.ends_with(".[31mred.\n"),
            "{shown}"
        );
        assert!(body(&[0; 5000]).contains("2952 bytes more"));
    }

    #[test]
    fn json_keeps_what_would_steer_the_terminal_as_an_escape() {
        assert_eq!(body("{\"a\":\"\u{9b}2J\u{7f}\u{202e}\"}".as_bytes()), "{\n  \"a\": \"\\u009b2J\\u007f\\u202e\"\n}");
        assert_eq!(body("\u{9b}2J".as_bytes()), "00000000  c2 9b 32 4a                                      ..2J\n");
        assert!(body(b"a\rb").starts_with("00000000"), "what follows would be written over what stands there");
    }

    #[test]
    fn a_header_cannot_look_like_another() {
        assert_eq!(header("a\nce_type\x1b", Some(b"x\n  ce_id: 1")), "  a\u{fffd}ce_type\u{fffd}: x\n        ce_id: 1");
        assert_eq!(header("a", None), "  a: null");
    }

    #[test]
    fn ages_have_two_units_and_the_future_says_so() {
        assert_eq!(age(Duration::from_millis(1234)), "1.2s");
        assert_eq!(age(Duration::from_secs(3 * 86_400 + 4 * 3_600 + 59)), "3d 4h");
        assert_eq!(since(61_000_000, 0), "in 1m 1s");
        assert_eq!(time(1_700_000_000_123_000), "2023-11-14T22:13:20.123Z");
    }
}
