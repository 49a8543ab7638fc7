//! `dlq list`: the newest letters, and which of them were sent again.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;
use serde::Serialize;

use crate::dead_letter::{Entry, Marks};

use super::super::exit::Failure;
use super::super::output::{self, count, grouped};
use super::letters::{Letters, Record};
use super::{Choice, Opened, Place, open};

#[derive(Args, Debug)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    choice: Choice,
    /// Only those that were not sent again
    #[arg(long)]
    waiting: bool,
    /// Only the newest so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl List {
    /// The newest letters of a configuration, whatever they are.
    pub(in crate::cli) fn newest(config: &Path, limit: usize) -> Self {
        let place = Place { config: config.to_owned(), topic: None };
        Self { place, choice: Choice::default(), waiting: false, limit, json: false }
    }
}

/// What `dlq list --json` prints.
#[derive(Debug, Default, Serialize)]
struct Listing {
    topic: String,
    /// How many match, shown or not.
    matching: u64,
    /// How many of them were sent again.
    replayed: u64,
    /// Letters whose parts are not all there.
    incomplete: u64,
    /// Marks of letters that were sent again, whether these match or not.
    marks: u64,
    /// Records of the topic that are neither.
    foreign: u64,
    /// How many of those that match are of which kind, most first.
    kinds: Vec<Kind>,
    letters: Vec<Entry>,
}

/// Letters that have their cause in common, most likely.
#[derive(Debug, Serialize)]
struct Kind {
    writer: String,
    class: String,
    table: Option<String>,
    letters: u64,
}

pub(in crate::cli) async fn list(arguments: List) -> Result<(), Failure> {
    let opened: Opened = open(&arguments.place)?;
    let filter = arguments.choice.filter(&opened.deployment)?;
    let mut listing = Listing { topic: opened.topic.clone(), ..Listing::default() };
    let mut newest: BTreeMap<(String, String), Entry> = BTreeMap::new();
    let mut kinds: BTreeMap<(String, String, Option<String>), u64> = BTreeMap::new();
    // Marks lie behind their letters.
    let marks = marks(&opened).await?;
    let mut letters = Letters::read(&opened).await?;
    while let Some(record) = letters.next().await? {
        match record {
            Record::Letter(letter) if filter.matches(&letter) => {
                let entry = Entry::from(&*letter).marked(&marks);
                let replayed = entry.replayed_at.is_some();
                if arguments.waiting && replayed {
                    continue;
                }
                listing.matching += 1;
                listing.replayed += u64::from(replayed);
                let kind = (entry.writer.clone(), entry.class.clone(), entry.table.clone());
                *kinds.entry(kind).or_default() += 1;
                newest.insert((entry.failed_at.clone(), entry.place.clone()), entry);
                if newest.len() > arguments.limit {
                    newest.pop_first();
                }
            }
            Record::Letter(_) => {}
            Record::Mark(_) => listing.marks += 1,
            Record::Foreign => listing.foreign += 1,
        }
    }
    listing.incomplete = letters.incomplete();
    let kind = |((writer, class, table), letters)| Kind { writer, class, table, letters };
    listing.kinds = kinds.into_iter().map(kind).collect();
    listing.kinds.sort_by_key(|kind| Reverse(kind.letters));
    listing.letters = newest.into_values().collect();
    if arguments.json { Ok(output::json(&listing)?) } else { Ok(print(&listing)?) }
}

async fn marks(opened: &Opened) -> Result<Marks, Failure> {
    let mut marks = Marks::default();
    let mut letters = Letters::read(opened).await?;
    while let Some(record) = letters.next().await? {
        if let Record::Mark(mark) = record {
            marks.add(mark);
        }
    }
    Ok(marks)
}

fn print(listing: &Listing) -> anyhow::Result<()> {
    if !listing.letters.is_empty() {
        output::line(table(&listing.letters))?;
    }
    let shown = listing.letters.len() as u64;
    if shown < listing.matching {
        for Kind { writer, class, table, letters } in &listing.kinds {
            let table = table.as_deref().unwrap_or("–");
            output::line(output::inline(&format!("{} of {writer}, {class}, table {table}", grouped(*letters))))?;
        }
    }
    let mut end = format!("{} in `{}`", count(listing.matching, "dead letter"), listing.topic);
    if listing.replayed > 0 {
        end += &format!(", {} of them replayed", grouped(listing.replayed));
    }
    if shown < listing.matching {
        end += &format!(", the newest {} shown (`--limit`)", grouped(shown));
    }
    if listing.incomplete > 0 {
        end += &format!("; {} without all of its parts", grouped(listing.incomplete));
    }
    if listing.foreign > 0 {
        end += &format!("; {} there that is no dead letter", count(listing.foreign, "record"));
    }
    output::line(end)
}

/// Letters, a line each.
pub(super) fn table(letters: &[Entry]) -> String {
    let heading = ["position", "buried at", "writer", "class", "table", "row", "from", "round", "replayed at", "error"];
    let mut table = output::table(heading);
    for letter in letters {
        let optional = |text: &Option<String>| text.as_deref().unwrap_or("–").to_owned();
        output::row(
            &mut table,
            [
                letter.place.clone(),
                letter.failed_at.clone(),
                letter.writer.clone(),
                letter.class.clone(),
                optional(&letter.table),
                optional(&letter.row),
                letter.origin.clone(),
                letter.redrive_count.to_string(),
                optional(&letter.replayed_at),
                output::shortened(&letter.message, 100),
            ],
        );
    }
    table.trim_fmt()
}
