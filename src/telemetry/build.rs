//! Which build this is: what `--version`, the first line of the log, `/status.json` and `/metrics` say.

use std::sync::LazyLock;

/// The version of the sources.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The revision of the sources, where the build was told (`CHALK_WRITER_REVISION`, which the Dockerfile has as an argument).
pub const REVISION: &str = known(option_env!("CHALK_WRITER_REVISION"));

/// Both, as `--version` prints them.
pub static FULL: LazyLock<String> = LazyLock::new(|| format!("{VERSION} (revision {REVISION})"));

/// An argument that was left out is there and empty.
const fn known(told: Option<&'static str>) -> &'static str {
    match told {
        Some(revision) if !revision.is_empty() => revision,
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::known;

    #[test]
    fn a_build_that_was_not_told_says_so() {
        assert_eq!([known(None), known(Some("")), known(Some("0d4b0e7"))], ["unknown", "unknown", "0d4b0e7"]);
    }
}
