//! Results on stdout: tables for people, JSON for programs.

use std::io::{ErrorKind, Write, stderr, stdin, stdout};

use anyhow::Context;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// Prints a line, or several.
///
/// Much of what is shown comes from messages, and a message must not steer the terminal of whoever
/// looks at it: of all characters that are not shown, only the end of a line gets there.
///
/// A reader that has gone (`| head`) ends the process quietly: nobody is left to tell.
pub(super) fn line(text: impl AsRef<str>) -> anyhow::Result<()> {
    write(visible(text.as_ref()).as_bytes()).and_then(|()| write(b"\n"))
}

/// Whether a character steers the terminal: control characters, C1 among them, and those that turn
/// the direction of text.
pub(super) fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text of several lines with nothing in it that steers the terminal.
fn visible(text: &str) -> String {
    text.chars().map(|c| if steers(c) && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// Something from a message in the middle of a line: it cannot begin a line of its own either.
pub(super) fn inline(text: &str) -> String {
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// JSON as it is, with what would steer the terminal written as an escape.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        // Line ends are between values; inside of them JSON has escapes for them already.
        if steers(c) && c != '\n' { escape(&mut text, c) } else { text.push(c) }
    }
    text
}

/// Appends a character as JSON escapes it; all that steer are of one UTF-16 unit.
pub(super) fn escape(text: &mut String, c: char) {
    let _ = std::fmt::Write::write_fmt(text, format_args!("\\u{:04x}", u32::from(c)));
}

/// Prints bytes as they are.
pub(super) fn write(bytes: &[u8]) -> anyhow::Result<()> {
    match stdout().lock().write_all(bytes) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        result => result.context("cannot write to standard output"),
    }
}

/// Prints a value as JSON, indented.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(escaped(&serde_json::to_string_pretty(value)?))
}

/// Prints a value as JSON in one line: for results of any number.
pub(super) fn json_line(value: &impl Serialize) -> anyhow::Result<()> {
    line(escaped(&serde_json::to_string(value)?))
}

/// An empty table with a heading: lines between columns only, so that it can be copied and read by tools.
pub(super) fn table<const N: usize>(heading: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(heading);
    table
}

/// Adds a row to a table; whatever is in a cell stays in its line.
pub(super) fn row<const N: usize>(table: &mut Table, cells: [String; N]) {
    table.add_row(cells.map(|cell| inline(&cell)));
}

/// A number with a comma after every third digit.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 message`, `2 messages`, `1,000 messages`.
pub(super) fn count(number: u64, one: &str) -> String {
    format!("{} {one}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// The first line of a text cut to so many characters, with `…` where something is missing. Control
/// characters do not reach the terminal: what is shown may come from a message.
pub(super) fn shortened(text: &str, most: usize) -> String {
    let line = text.split('\n').next().unwrap_or_default();
    let mut short: String = inline(line).chars().take(most).collect();
    if line.len() < text.len() || line.chars().nth(most).is_some() {
        while short.chars().count() >= most.max(1) {
            short.pop();
        }
        short.push('…');
    }
    short
}

/// Asks in the terminal; nothing typed means `default`, and an end of input no.
pub(super) fn yes(question: &str, default: bool) -> bool {
    // Some of it may come from a message.
    let question: String = question.lines().map(inline).collect::<Vec<_>>().join("\n");
    let mut stderr = stderr().lock();
    let mut answer = String::new();
    if write!(stderr, "{question} ").and_then(|()| stderr.flush()).is_err() || stdin().read_line(&mut answer).is_err() {
        return false;
    }
    match answer.trim().to_lowercase().as_str() {
        "" => default && answer.ends_with('\n'),
        answer => matches!(answer, "y" | "yes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_from_the_right() {
        let cases = [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        for (number, expected) in cases {
            assert_eq!(grouped(number), expected);
        }
        assert_eq!(count(1, "message"), "1 message");
        assert_eq!(count(2_000, "message"), "2,000 messages");
    }

    #[test]
    fn nothing_from_a_message_steers_the_terminal() {
        let hostile = "a\x1b[2J\u{9b}31mb\nc\u{7f}\r\u{85}\u{202e}";
        assert_eq!(inline(hostile), "a�[2J�31mb�c����");
        assert_eq!(visible(hostile), "a�[2J�31mb\nc����");
        let mut table = table(["column"]);
        row(&mut table, [hostile.to_owned()]);
        assert_eq!(table.lines().count(), 2, "{table}");
        let json = escaped(&serde_json::json!({ "k": hostile }).to_string());
        assert!(!json.contains(steers), "{json:?}");
        let read: serde_json::Value = serde_json::from_str(&json).expect("still JSON");
        assert_eq!(read["k"], hostile, "and nothing is lost");
    }

    #[test]
    fn text_is_cut_by_characters_and_at_the_first_line() {
        assert_eq!(shortened("größer", 6), "größer");
        assert_eq!(shortened("größer", 4), "grö…");
        assert_eq!(shortened("one\ntwo", 4), "one…");
        assert_eq!(shortened("\x1b[31m", 9), "\u{fffd}[31m");
    }
}
