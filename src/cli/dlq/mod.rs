//! `dlq list` and `dlq show`: what lies in the dead letter topic, on every bus alike.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::bus::{BrowseFrom, Bus, BusError};
use crate::config::settings::BusSettings;
use crate::dead_letter::{Assembler, DeadLetter, Details, Entry, Filter, read};
use crate::sink::ErrorClass;

use super::deployment::{self, Deployment};
use super::exit::{Exit, Failure};
use super::output::{self, count, grouped};
use super::text;

/// Memory for letters in parts whose other parts have not been read yet.
const PARTS_LIMIT: usize = 256 << 20;

/// Look at the messages that could not be written
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List dead letters, oldest first
    List(List),
    /// Show one dead letter: what is noted about it, its headers and its body
    Show(Show),
}

#[derive(Args, Debug)]
pub(super) struct Place {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The dead letter topic, where it is not the one of the configuration
    #[arg(long)]
    topic: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    place: Place,
    /// Only those of this writer type
    #[arg(long, value_name = "TYPE")]
    writer_type: Option<String>,
    /// Only those of this error class
    #[arg(long, value_parser = class)]
    class: Option<String>,
    /// Only those of this table or namespace
    #[arg(long)]
    table: Option<String>,
    /// Only those buried at this time or later: RFC 3339, or so long ago (`2h`)
    #[arg(long, value_name = "TIME", value_parser = deployment::moment)]
    since: Option<DateTime<Utc>>,
    /// Only those buried before this time
    #[arg(long, value_name = "TIME", value_parser = deployment::moment)]
    until: Option<DateTime<Utc>>,
    /// Only the newest so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct Show {
    #[command(flatten)]
    place: Place,
    /// Its place as `dlq list` shows it: PARTITION/OFFSET
    #[arg(value_parser = position)]
    position: (i32, i64),
    /// Print the body alone, byte for byte
    #[arg(long, conflicts_with = "json")]
    body_only: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List(arguments) => list(arguments).await,
        Command::Show(arguments) => show(arguments).await,
    }
}

/// What `dlq list --json` prints.
#[derive(Debug, Default, Serialize)]
struct Listing {
    topic: String,
    /// How many match, shown or not.
    matching: u64,
    /// Letters whose parts are not all there.
    incomplete: u64,
    /// Records of the topic that are no dead letters.
    foreign: u64,
    letters: Vec<Entry>,
}

impl List {
    /// The newest letters of a configuration, whatever they are.
    pub(super) fn newest(config: &Path, limit: usize) -> Self {
        let place = Place { config: config.to_owned(), topic: None };
        Self { place, writer_type: None, class: None, table: None, since: None, until: None, limit, json: false }
    }
}

pub(super) async fn list(arguments: List) -> Result<(), Failure> {
    let Opened { bus, topic, is_local } = open(&arguments.place)?;
    let filter = Filter {
        writer: arguments.writer_type,
        class: arguments.class,
        table: arguments.table,
        from: arguments.since,
        until: arguments.until,
    };
    let mut listing = Listing { topic: topic.clone(), ..Listing::default() };
    let mut newest: BTreeMap<(String, String), Entry> = BTreeMap::new();
    let mut assembler = Assembler::new(PARTS_LIMIT);
    let mut browse = match bus.browse(&topic, BrowseFrom::Earliest).await {
        Ok(browse) => Some(browse),
        // The first writer makes it. A topic that was named for this look must be there.
        Err(BusError::NotFound(_)) if is_local && arguments.place.topic.is_none() => None,
        Err(error) => return Err(error.into()),
    };
    while let Some(browse) = &mut browse {
        let messages = browse.next().await?;
        if messages.is_empty() {
            break;
        }
        for message in messages {
            let Some(letter) = read(&message) else {
                listing.foreign += 1;
                continue;
            };
            let Some(letter) = assembler.push(letter).filter(|letter| filter.matches(letter)) else { continue };
            listing.matching += 1;
            let entry = Entry::from(&letter);
            newest.insert((entry.failed_at.clone(), entry.place.clone()), entry);
            if newest.len() > arguments.limit {
                newest.pop_first();
            }
        }
    }
    listing.incomplete = assembler.incomplete().len() as u64;
    listing.letters = newest.into_values().collect();
    if arguments.json { Ok(output::json(&listing)?) } else { Ok(print(&listing)?) }
}

fn print(listing: &Listing) -> anyhow::Result<()> {
    let mut table = output::table(["position", "buried at", "writer", "class", "table", "row", "from", "error"]);
    for letter in &listing.letters {
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
                output::shortened(&letter.message, 100),
            ],
        );
    }
    if !listing.letters.is_empty() {
        output::line(table.trim_fmt())?;
    }
    let shown = listing.letters.len() as u64;
    let mut end = format!("{} in `{}`", count(listing.matching, "dead letter"), listing.topic);
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

async fn show(arguments: Show) -> Result<(), Failure> {
    let Opened { bus, topic, .. } = open(&arguments.place)?;
    let letter = find(&*bus, &topic, arguments.position).await?;
    if arguments.body_only {
        return Ok(output::write(letter.original.payload.as_deref().unwrap_or_default())?);
    }
    let details = Details::from(&letter);
    if arguments.json {
        return Ok(output::json(&details)?);
    }
    output::line(notes(&details))?;
    if let Some(key) = letter.original.key.as_deref() {
        output::line(format!("\nkey\n{}", text::body(key)))?;
    }
    output::line("\nheaders")?;
    for (name, value) in letter.original.headers.iter() {
        output::line(text::header(name, value))?;
    }
    let body = letter.original.payload.as_deref();
    output::line(format!("\nbody\n{}", body.map_or_else(|| "null".to_owned(), text::body)))?;
    Ok(())
}

/// What is noted about a letter, a line each; what is not known is left out.
fn notes(details: &Details) -> String {
    let Details { entry, .. } = details;
    let mut table = output::table([]);
    for (name, value) in [
        ("position", Some(entry.place.clone())),
        ("from", Some(entry.origin.clone())),
        ("buried at", Some(entry.failed_at.clone())),
        ("first refused", Some(details.first_failed_at.clone())),
        ("attempts", Some(details.attempts.to_string())),
        ("sent again", Some(entry.redrive_count.to_string())),
        ("writer", Some(format!("{} {}", entry.writer, details.writer_version))),
        ("environment", entry.environment.clone()),
        ("store", details.sink.clone()),
        ("table", entry.table.clone()),
        ("row", entry.row.clone()),
        ("class", Some(entry.class.clone())),
        ("code", details.code.clone()),
        ("error", Some(entry.message.clone())),
        ("batch", Some(details.batch_id.clone())),
        ("timestamp", details.timestamp_ms.map(|millis| text::time(millis.saturating_mul(1000)))),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            output::row(&mut table, [name.to_owned(), output::shortened(&value, 2000)]);
        }
    }
    table.trim_fmt()
}

/// The letter at a place; where only a part of it is there, the rest is looked for.
async fn find(bus: &dyn Bus, topic: &str, (partition, offset): (i32, i64)) -> Result<DeadLetter, Failure> {
    let missing = || {
        Failure::new(
            Exit::Failed,
            format_args!("no message at {partition}/{offset} of `{topic}`; `dlq list` has the places"),
        )
    };
    let mut browse = bus.browse(topic, BrowseFrom::Position(partition, offset)).await?;
    let messages = browse.next().await?;
    let message = messages
        .iter()
        .find(|message| message.partition.number == partition && message.offset == offset)
        .ok_or_else(missing)?;
    let letter = read(message).ok_or_else(|| {
        Failure::new(
            Exit::Failed,
            format_args!("the message at {partition}/{offset} of `{topic}` is not a dead letter"),
        )
    })?;
    if letter.part.is_none() {
        return Ok(letter);
    }
    let notes = letter.notes;
    let mut assembler = Assembler::new(PARTS_LIMIT);
    let mut browse = bus.browse(topic, BrowseFrom::Earliest).await?;
    loop {
        let messages = browse.next().await?;
        if messages.is_empty() {
            let text = format!("the letter at {partition}/{offset} of `{topic}` comes in parts, and some are missing");
            return Err(Failure::new(Exit::Failed, text));
        }
        // The notes of all parts of one letter are the same, and no two letters have the same.
        let parts = messages.iter().filter_map(read).filter(|part| part.notes == notes);
        if let Some(whole) = parts.into_iter().find_map(|part| assembler.push(part)) {
            return Ok(whole);
        }
    }
}

/// Where dead letters are.
struct Opened {
    bus: Arc<dyn Bus>,
    topic: String,
    is_local: bool,
}

fn open(place: &Place) -> Result<Opened, Failure> {
    let deployment = Deployment::load(&place.config)?;
    let topic = place.topic.clone().or_else(|| deployment.dlq_topic()).ok_or_else(|| {
        Failure::new(
            Exit::Configuration,
            format_args!(
                "{} names no dead letter topic (`kafka_dlq_topic`); `--topic` takes one",
                place.config.display()
            ),
        )
    })?;
    let is_local = matches!(deployment.bus_settings(), BusSettings::Local(_));
    Ok(Opened { bus: deployment.bus()?, topic, is_local })
}

fn class(text: &str) -> Result<String, String> {
    let known = ErrorClass::ALL.map(ErrorClass::as_str);
    known
        .into_iter()
        .find(|class| class.eq_ignore_ascii_case(text))
        .map(str::to_owned)
        .ok_or_else(|| format!("unknown error class; known are {}", known.join(", ")))
}

/// `PARTITION/OFFSET`, or with a colon between.
pub(super) fn position(text: &str) -> Result<(i32, i64), String> {
    let parsed = text.split_once(['/', ':']).and_then(|(partition, offset)| {
        Some((partition.parse().ok()?, offset.parse().ok().filter(|offset: &i64| *offset >= 0)?))
    });
    parsed.ok_or_else(|| "expected PARTITION/OFFSET, as in 0/17".to_owned())
}
