//! Results on stdout: tables for people, JSON for programs.

use std::io::{ErrorKind, Write, stdout};

use anyhow::Context;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// Prints a line.
///
/// A reader that has gone (`| head`) ends the process quietly: nobody is left to tell.
pub(super) fn line(text: impl AsRef<str>) -> anyhow::Result<()> {
    write(text.as_ref().as_bytes()).and_then(|()| write(b"\n"))
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
    line(serde_json::to_string_pretty(value)?)
}

/// Prints a value as JSON in one line: for results of any number.
pub(super) fn json_line(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string(value)?)
}

/// An empty table with a heading: lines between columns only, so that it can be copied and read by tools.
pub(super) fn table<const N: usize>(heading: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(heading);
    table
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
    let mut short: String = line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(most).collect();
    if line.len() < text.len() || line.chars().nth(most).is_some() {
        while short.chars().count() >= most.max(1) {
            short.pop();
        }
        short.push('…');
    }
    short
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
    fn text_is_cut_by_characters_and_at_the_first_line() {
        assert_eq!(shortened("größer", 6), "größer");
        assert_eq!(shortened("größer", 4), "grö…");
        assert_eq!(shortened("one\ntwo", 4), "one…");
        assert_eq!(shortened("\x1b[31m", 9), "\u{fffd}[31m");
    }
}
