//! One line of JSON for each writer of a run, which `tests/torture/table.py` makes a table of.

use std::io::Write as _;

use serde_json::Value;

/// Appends to the file that `TORTURE_REPORT` names, if it does.
pub fn append(lines: &[Value]) {
    let Some(path) = std::env::var_os("TORTURE_REPORT") else { return };
    let mut file = std::fs::File::options().create(true).append(true).open(&path).unwrap();
    // In one write: other runs append too.
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    file.write_all(text.as_bytes()).unwrap();
}
