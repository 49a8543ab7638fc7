//! What `dlq replay` says in the end, or instead of sending anything.

use serde::Serialize;

use crate::dead_letter::Entry;

use super::super::output::{self, count, grouped};
use super::list;
use super::redrive::Failed;

/// Letters that are shown before they are sent, and reasons of those that were not.
pub(super) const SHOWN: usize = 100;

const FORCED: &str = "would be refused again (`--even-refused` sends them too)";

/// What `dlq replay --json` prints.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    /// The dead letter topic.
    pub(super) topic: String,
    /// Nothing was sent.
    pub(super) dry_run: bool,
    /// Letters that are meant: of these `--limit` may have left some for the next time.
    pub(super) matching: u64,
    /// Sent again and marked.
    pub(super) replayed: u64,
    /// Not sent, since they were sent before.
    pub(super) replayed_before: u64,
    /// Not sent, since they have been round too often.
    pub(super) too_many_rounds: u64,
    /// Not sent, for a reason of their own.
    pub(super) failed: Vec<Failed>,
    /// Held back, or with `--even-refused` sent all the same: their writer would refuse them again.
    pub(super) would_be_refused: u64,
    /// Letters that the filters leave out.
    pub(super) filtered_out: u64,
    /// Letters whose parts are not all there.
    pub(super) incomplete: u64,
    /// Where they go: topic, group and how many; of a dry run without those that would be held back.
    pub(super) targets: Vec<Bound>,
    /// Of a dry run: the letters, oldest first; no more than a hundred.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) letters: Vec<Meant>,
    /// Of a dry run: how many letters it went through.
    #[serde(skip)]
    pub(super) seen: u64,
    /// Whether `--even-refused` would have sent more.
    #[serde(skip)]
    pub(super) may_be_forced: bool,
}

/// Letters with the same destination.
#[derive(Debug, Serialize)]
pub(super) struct Bound {
    pub(super) topic: String,
    pub(super) group: String,
    pub(super) letters: u64,
}

/// One letter of a dry run.
#[derive(Debug, Serialize)]
pub(super) struct Meant {
    #[serde(flatten)]
    pub(super) entry: Entry,
    /// The group that it would be for.
    pub(super) group: String,
    /// The store that refused it, where it was not its writer. What that says now nobody knows before it is written.
    pub(super) store: Option<String>,
    /// What its writer would refuse of it as it is now; `None` where the configuration does not have it.
    pub(super) refused_now: Option<Vec<String>>,
}

/// How many dead letters go to which topic, and for which group.
pub(super) fn targets(summary: &Summary) -> String {
    let bound = |Bound { topic, group, letters }: &Bound| {
        format!("{} to `{topic}` for group `{group}`", count(*letters, "dead letter"))
    };
    summary.targets.iter().map(bound).collect::<Vec<_>>().join(", ")
}

impl Summary {
    pub(super) fn print(&self) -> anyhow::Result<()> {
        if !self.letters.is_empty() {
            let entries: Vec<Entry> = self.letters.iter().map(|meant| meant.entry.clone()).collect();
            output::line(list::table(&entries))?;
            let more = self.seen - entries.len() as u64;
            if more > 0 {
                output::line(format!("… and {more} more"))?;
            }
            for Meant { entry, refused_now, store, .. } in &self.letters {
                if let Some(first) = refused_now.as_deref().and_then(|refused| refused.first()) {
                    output::line(format!("{} would be refused again: {}", entry.place, output::shortened(first, 200)))?;
                } else if let Some(store) = store {
                    output::line(format!(
                        "{} was refused by the {}: nobody asks it beforehand whether it would be again",
                        entry.place,
                        output::inline(store)
                    ))?;
                }
            }
        }
        for Failed { place, reason } in self.failed.iter().take(SHOWN) {
            output::line(format!("{place} not sent: {}", output::inline(reason)))?;
        }
        let mut line = match (self.dry_run, self.matching) {
            (_, 0) => format!("no dead letter matches in `{}`", self.topic),
            (true, _) if self.targets.is_empty() => "nothing would be sent".to_owned(),
            (true, _) => format!("{} would be sent", targets(self)),
            (false, _) => format!("{} replayed of {}", grouped(self.replayed), count(self.matching, "dead letter")),
        };
        for (number, what) in [
            (self.replayed_before, "replayed before (`--again` sends them once more)"),
            (self.too_many_rounds, "round too often (`--max-rounds`)"),
            (self.would_be_refused, if self.may_be_forced { FORCED } else { "would be refused again" }),
            (self.failed.len() as u64, "not sent"),
            (self.filtered_out, "left out by the filters"),
            (self.incomplete, "without all of its parts"),
        ] {
            if number > 0 {
                line += &format!("; {} {what}", grouped(number));
            }
        }
        if self.dry_run && !self.targets.is_empty() {
            line += "; whether the stores take what would be sent shows only once it is written";
        }
        output::line(line)
    }
}
