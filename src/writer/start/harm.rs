//! What reading a stretch of a topic again does beyond writing what is missing.

use std::time::Duration;

use crate::value::time::{format_timestamp, now};
use crate::writer::doubles::Doubles;

/// What reading again does to whoever reads what a writer publishes.
const TWICE: &str = "would publish everything of that stretch once more";

/// What reading again does to a destination beyond writing what is missing in it.
pub(super) fn harm(from_ms: i64, doubles: Doubles, tombstones_for: Option<Duration>) -> Option<String> {
    match doubles {
        Doubles::Never => {}
        Doubles::Keyless => {
            return Some("would hold every row of that stretch twice that has no key of its own".to_owned());
        }
        Doubles::ReadAgain => {
            return Some("would hold every row of that stretch twice (with the same key)".to_owned());
        }
        Doubles::SentAgain | Doubles::CountedAgain | Doubles::OutOfPosition => return Some(TWICE.to_owned()),
    }
    let kept = tombstones_for?;
    let kept_since = now() / 1_000 - i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
    (from_ms < kept_since).then(|| {
        let since = rfc3339(kept_since);
        format!(
            "keeps no trace of what was evicted before {since} (`tombstone_retention`), or has expired since: such values would come back; a `--from-time` after that is harmless"
        )
    })
}

pub(super) fn rfc3339(milliseconds: i64) -> String {
    format_timestamp(milliseconds.saturating_mul(1_000))
}
