//! `dlq show`: all that is known of one letter.

use clap::Args;

use crate::bus::{BrowseFrom, Bus};
use crate::dead_letter::{Assembler, DeadLetter, Details, Mark, Marks, read};

use super::super::exit::{Exit, Failure};
use super::super::{output, text};
use super::letters::PARTS_LIMIT;
use super::{Opened, Place, open, position};

#[derive(Args, Debug)]
pub(in crate::cli) struct Show {
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

pub(super) async fn show(arguments: Show) -> Result<(), Failure> {
    let Opened { bus, topic, .. } = open(&arguments.place)?;
    let letter = find(&*bus, &topic, arguments.position).await?;
    if arguments.body_only {
        return Ok(output::write(letter.original.payload.as_deref().unwrap_or_default())?);
    }
    let marks = marks(&*bus, &topic, &letter).await?;
    let mut details = Details::from(&letter);
    details.entry = details.entry.marked(&marks);
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
    let replayed = entry.replayed_at.as_deref().zip(entry.replayed_to.as_deref());
    for (name, value) in [
        ("position", Some(entry.place.clone())),
        ("from", Some(entry.origin.clone())),
        ("buried at", Some(entry.failed_at.clone())),
        ("first refused", Some(details.first_failed_at.clone())),
        ("attempts", Some(details.attempts.to_string())),
        ("deliveries", details.delivery_attempt.map(|deliveries| deliveries.to_string())),
        ("sent again before", Some(entry.redrive_count.to_string())),
        ("replayed", replayed.map(|(at, to)| format!("at {at}, to {to}"))),
        ("writer", Some(format!("{} {}", entry.writer, details.writer_version))),
        ("group", details.group.clone()),
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

/// The marks of a letter.
async fn marks(bus: &dyn Bus, topic: &str, letter: &DeadLetter) -> Result<Marks, Failure> {
    let mut marks = Marks::default();
    let mut browse = bus.browse(topic, marks_from(bus.subscriptions().is_some(), letter.place())).await?;
    loop {
        let messages = browse.next().await?;
        if messages.is_empty() {
            return Ok(marks);
        }
        messages.iter().filter_map(Mark::read).for_each(|mark| marks.add(mark));
    }
}

/// Where a reading of a letter's marks begins: they lie behind it, in its partition, where there is such a thing. Where there are
/// subscriptions messages come in no order, and a mark may come before its letter.
const fn marks_from(comes_in_no_order: bool, (partition, offset): (i32, i64)) -> BrowseFrom {
    if comes_in_no_order { BrowseFrom::Earliest } else { BrowseFrom::Position(partition, offset) }
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
        let text = match Mark::read(message) {
            Some(mark) => format!("{partition}/{offset} of `{topic}` is the mark that {} was replayed", mark.letter),
            None => format!("the message at {partition}/{offset} of `{topic}` is not a dead letter"),
        };
        Failure::new(Exit::Failed, text)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_looked_for_from_the_letter_on_and_everywhere_where_nothing_comes_in_order() {
        assert!(matches!(marks_from(false, (3, 42)), BrowseFrom::Position(3, 42)));
        assert!(matches!(marks_from(true, (0, 42)), BrowseFrom::Earliest));
    }
}
