//! `dlq replay`: a look at what is meant, a question, and then the letters one after another.
//!
//! The topic is read twice. The first reading finds the letters that are meant, without holding their
//! bodies, and the marks, which lie behind them. The second one sends.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, stderr, stdin};
use std::path::PathBuf;

use bytes::Bytes;
use clap::{ArgGroup, Args};

use crate::bus::BusError;
use crate::config::names;
use crate::config::settings::WriterSettings;
use crate::dead_letter::{DeadLetter, Entry, Marks};
use crate::telemetry::logs;

use super::super::exit::{Exit, Failure, OrExit};
use super::super::output::{self, grouped, yes};
use super::edit::Edit;
use super::letters::{Letters, Record};
use super::make::{Made, Maker, reason};
use super::redrive::{Failed, Redrive};
use super::summary::{Bound, Meant, SHOWN, Summary, targets};
use super::target::Targets;
use super::{Choice, Opened, Place, open, position};

#[derive(Args, Debug)]
#[command(group(ArgGroup::new("body").args(["edit", "through", "set_body"])))]
pub(in crate::cli) struct Replay {
    #[command(flatten)]
    place: Place,
    /// Only these, by their places as `dlq list` shows them: PARTITION/OFFSET
    #[arg(value_name = "POSITION", value_parser = position)]
    positions: Vec<(i32, i64)>,
    #[command(flatten)]
    choice: Choice,
    /// Only the oldest so many of them
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Leave out those that have been sent again so often already
    #[arg(long, value_name = "N")]
    max_rounds: Option<u32>,
    /// Also those that were sent before
    #[arg(long)]
    again: bool,
    /// The consumer group that they are for; without it, that of the writer that buried each
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Open each body in $VISUAL or $EDITOR first; a protobuf body as JSON
    #[arg(long)]
    edit: bool,
    /// Put each body through this shell command first: `--through "jq -c '.environment_id = \"prod\"'"`
    #[arg(long, value_name = "COMMAND")]
    through: Option<String>,
    /// Send this body instead, for one letter
    #[arg(long, value_name = "FILE")]
    set_body: Option<PathBuf>,
    /// Send also what its writer would refuse again, and bury again
    #[arg(long, conflicts_with = "body")]
    even_refused: bool,
    /// Only say what would be sent, and what its writer would say to it; with `--through` once it was changed
    #[arg(long, conflicts_with_all = ["yes", "edit"])]
    dry_run: bool,
    /// Send without asking
    #[arg(long)]
    yes: bool,
    /// Print JSON; needs `--yes` or `--dry-run`
    #[arg(long)]
    json: bool,
}

/// A letter that is meant, without its body.
struct Candidate {
    failed_at: String,
    place: (i32, i64),
    origin: String,
    rounds: u32,
    topic: String,
    group: Result<String, String>,
}

/// The writers of the file, each with the topic that it reads in place of what it reads that by.
async fn reading_topics(opened: &Opened) -> Result<Vec<WriterSettings>, Failure> {
    let mut writers = opened.deployment.writers();
    for writer in &mut writers {
        match opened.bus.topic_of(&writer.subscription).await {
            Ok(topic) => writer.subscription = topic,
            // Of another deployment's file, maybe; it reads nothing here.
            Err(BusError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(writers)
}

pub(super) async fn replay(arguments: Replay) -> Result<(), Failure> {
    let edit = arguments.body()?;
    let opened = open(&arguments.place)?;
    let project = opened.deployment.bus_settings().project();
    let given = arguments.group.as_deref().map(|group| names::group(project, group).to_owned());
    let targets = Targets::new(reading_topics(&opened).await?, given);
    let mut summary = Summary { topic: opened.topic.clone(), dry_run: arguments.dry_run, ..Summary::default() };
    summary.may_be_forced = edit.is_none() && !arguments.even_refused;
    let meant = survey(&opened, &arguments, &targets, &mut summary).await?;

    let mut chosen = BTreeSet::new();
    let mut bound: BTreeMap<(String, String), u64> = BTreeMap::new();
    for candidate in meant {
        let (partition, offset) = candidate.place;
        match candidate.group {
            Ok(group) => {
                *bound.entry((candidate.topic, group)).or_default() += 1;
                chosen.insert(candidate.place);
            }
            Err(reason) => summary.failed.push(Failed { place: format!("{partition}/{offset}"), reason }),
        }
    }
    for (topic, group) in bound.keys() {
        if let Some(warning) = targets.check(&*opened.bus, topic, group).await? {
            tracing::warn!("{warning}");
        }
    }
    summary.targets = bound.into_iter().map(|((topic, group), letters)| Bound { topic, group, letters }).collect();

    let mut maker = Maker::new(edit, targets, arguments.even_refused);
    if arguments.dry_run {
        let rehearsed = rehearse(&opened, &chosen, &mut maker, &mut summary).await;
        clear();
        rehearsed?;
        return arguments.end(&summary, Ok(()));
    }
    if chosen.is_empty() {
        return arguments.end(&summary, Ok(()));
    }
    arguments.ask(&summary, chosen.len() as u64)?;

    let mut redrive = Redrive::new(opened.bus.publisher().await?, opened.topic.clone());
    redrive.failed = std::mem::take(&mut summary.failed);
    let sent = send(&opened, &chosen, &mut maker, &mut redrive, &mut summary.would_be_refused).await;
    clear();
    summary.replayed = redrive.replayed;
    summary.failed = redrive.failed;
    arguments.end(&summary, sent)
}

/// The second reading of a dry run: what would become of each letter that was chosen.
async fn rehearse(
    opened: &Opened,
    chosen: &BTreeSet<(i32, i64)>,
    maker: &mut Maker,
    summary: &mut Summary,
) -> Result<(), Failure> {
    let mut letters = BTreeMap::new();
    let left = each(opened, chosen, async |mut letter, number| {
        let (entry, store) = (Entry::from(&letter), letter.notes.sink.clone());
        summary.seen = number;
        let topic = letter.notes.topic.clone();
        let (group, refused_now) = match maker.make(&mut letter)? {
            Made::Message { group, refused, .. } => (group, refused),
            Made::Refused { group, refused, .. } => {
                held_back(&mut summary.targets, &topic, &group);
                (group, Some(refused))
            }
            Made::Failed { group, reason } => {
                held_back(&mut summary.targets, &topic, &group);
                summary.failed.push(Failed::new(&letter, reason));
                (group, None)
            }
        };
        summary.would_be_refused += u64::from(refused_now.as_ref().is_some_and(|refused| !refused.is_empty()));
        letters.insert((entry.failed_at.clone(), letter.place()), Meant { entry, group, store, refused_now });
        if letters.len() > SHOWN {
            letters.pop_last();
        }
        show(number, chosen.len());
        Ok(())
    })
    .await?;
    summary.failed.extend(gone(&left));
    summary.targets.retain(|bound| bound.letters > 0);
    summary.letters = letters.into_values().collect();
    Ok(())
}

/// One letter less goes there.
fn held_back(targets: &mut [Bound], topic: &str, group: &str) {
    if let Some(bound) = targets.iter_mut().find(|bound| bound.topic == topic && bound.group == group) {
        bound.letters = bound.letters.saturating_sub(1);
    }
}

fn clear() {
    if stderr().is_terminal() {
        logs::show_progress("");
    }
}

fn show(number: u64, all: usize) {
    if stderr().is_terminal() {
        logs::show_progress(&format!("{} of {} letters", grouped(number), grouped(all as u64)));
    }
}

/// The second reading: sends what was chosen.
async fn send(
    opened: &Opened,
    chosen: &BTreeSet<(i32, i64)>,
    maker: &mut Maker,
    redrive: &mut Redrive,
    would_be_refused: &mut u64,
) -> Result<(), Failure> {
    let left = each(opened, chosen, async |mut letter, number| {
        match maker.make(&mut letter) {
            Ok(Made::Message { message, refused, .. }) => {
                *would_be_refused += u64::from(refused.is_some_and(|refused| !refused.is_empty()));
                redrive.push(letter, *message).await?;
            }
            Ok(Made::Refused { what, refused, .. }) => {
                *would_be_refused += 1;
                redrive.failed.push(Failed::new(&letter, reason(what, &refused)));
            }
            Ok(Made::Failed { reason, .. }) => redrive.failed.push(Failed::new(&letter, reason)),
            Err(failure) => {
                // What goes before it has its message.
                redrive.flush().await?;
                return Err(failure);
            }
        }
        if maker.by_hand() {
            // What somebody has just written is not lost by what comes later.
            redrive.flush().await?;
        } else {
            show(number, chosen.len());
        }
        Ok(())
    })
    .await?;
    redrive.failed.extend(gone(&left));
    redrive.flush().await
}

/// Letters that did not come in the second reading, though they did in the first.
fn gone(left: &BTreeSet<(i32, i64)>) -> impl Iterator<Item = Failed> {
    left.iter().map(|(partition, offset)| Failed {
        place: format!("{partition}/{offset}"),
        reason:
            "did not come when the topic was read again: it may have expired meanwhile, or the reading ended early; \
                 the same command finds it if it is there"
                .to_owned(),
    })
}

/// Reads the topic once more and does something with each of the letters that were chosen; returns those that were not there:
/// in a retention's course some may have gone since.
async fn each(
    opened: &Opened,
    chosen: &BTreeSet<(i32, i64)>,
    mut does: impl AsyncFnMut(DeadLetter, u64) -> Result<(), Failure>,
) -> Result<BTreeSet<(i32, i64)>, Failure> {
    let mut letters = Letters::read(opened).await?;
    let mut left = chosen.clone();
    let mut number = 0;
    while !left.is_empty() {
        match letters.next().await? {
            Some(Record::Letter(letter)) if left.remove(&letter.place()) => {
                number += 1;
                does(*letter, number).await?;
            }
            Some(_) => {}
            None => break,
        }
    }
    Ok(left)
}

/// The first reading: the letters that are meant, oldest first.
async fn survey(
    opened: &Opened,
    arguments: &Replay,
    targets: &Targets,
    summary: &mut Summary,
) -> Result<Vec<Candidate>, Failure> {
    let filter = arguments.choice.filter(&opened.deployment)?;
    let mut wanted: BTreeSet<(i32, i64)> = arguments.positions.iter().copied().collect();
    let by_place = !wanted.is_empty();
    let mut candidates = Vec::new();
    let mut marks = Marks::default();
    let mut letters = Letters::read(opened).await?;
    while let Some(record) = letters.next().await? {
        match record {
            Record::Letter(letter) => {
                let named = wanted.remove(&letter.place());
                if (by_place && !named) || !filter.matches(&letter) {
                    summary.filtered_out += 1;
                    continue;
                }
                candidates.push(Candidate {
                    place: letter.place(),
                    origin: letter.origin(),
                    rounds: letter.notes.redrive_count,
                    group: targets.group(&letter.notes),
                    topic: letter.notes.topic,
                    failed_at: letter.notes.failed_at,
                });
            }
            Record::Mark(mark) => marks.add(mark),
            Record::Foreign => {}
        }
    }
    summary.incomplete = letters.incomplete();
    if !wanted.is_empty() {
        let places: Vec<String> = wanted.iter().map(|(partition, offset)| format!("{partition}/{offset}")).collect();
        let text = format!(
            "no dead letter at {} of `{}`; nothing was sent; `dlq list` has the places",
            places.join(", "),
            opened.topic
        );
        return Err(Failure::new(Exit::Failed, text));
    }
    summary.matching = candidates.len() as u64;
    candidates.retain(|candidate| {
        let (partition, offset) = candidate.place;
        let before = !arguments.again && marks.of(&format!("{partition}/{offset}"), &candidate.origin).is_some();
        let too_often = !before && arguments.max_rounds.is_some_and(|most| candidate.rounds >= most);
        summary.replayed_before += u64::from(before);
        summary.too_many_rounds += u64::from(too_often);
        !before && !too_often
    });
    candidates.sort_by(|one, other| (&one.failed_at, one.place).cmp(&(&other.failed_at, other.place)));
    candidates.truncate(arguments.limit.unwrap_or(usize::MAX));
    Ok(candidates)
}

impl Replay {
    fn body(&self) -> Result<Option<Edit>, Failure> {
        if let Some(path) = &self.set_body {
            if self.positions.len() != 1 {
                return Err(Failure::new(Exit::Usage, "`--set-body` is for one letter; name its POSITION"));
            }
            let read = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
            return Ok(Some(Edit::Body(Bytes::from(read.or_exit(Exit::Failed)?))));
        }
        let editor = || {
            let given =
                ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
            Edit::Editor(given.unwrap_or_else(|| "vi".to_owned()))
        };
        Ok(self.through.clone().map(Edit::Through).or_else(|| self.edit.then(editor)))
    }

    /// Says what would go, and goes on only with a yes.
    fn ask(&self, summary: &Summary, letters: u64) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        let what = targets(summary);
        if self.json || !stdin().is_terminal() || !stderr().is_terminal() {
            let text = format!("{what}: `--yes` sends them, `--dry-run` lists them; nothing was sent");
            return Err(Failure::new(Exit::Usage, text));
        }
        let question = if letters == 1 { "Send it again?" } else { "Send them again?" };
        if yes(&format!("{what}\n{question} [y/N]"), false) {
            return Ok(());
        }
        Err(Failure::new(Exit::Failed, "nothing was sent"))
    }

    /// The summary, and whether it went well.
    fn end(&self, summary: &Summary, sent: Result<(), Failure>) -> Result<(), Failure> {
        let printed = if self.json { output::json(summary) } else { summary.print() };
        printed?;
        sent?;
        if summary.failed.is_empty() { Ok(()) } else { Err(Failure::told(Exit::Failed)) }
    }
}
