//! `explain`: what a configuration guarantees, fault by fault, as [`guarantee`] has it.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use crate::config;
use crate::config::settings::WriterSettings;
use crate::writer::guarantee::{self, Change, Explained, Fault, Guarantee, Kept, There};

use super::deployment::{Deployment, by_type};
use super::exit::{Exit, Failure};
use super::output;

/// Tell what this configuration guarantees for each failure, why, and which setting would change it; connects to nothing
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("one").args(["writer_type", "writer"]).multiple(false)))]
pub(super) struct Arguments {
    #[command(flatten)]
    which: Which,
    /// One failure alone, with each destination and each setting in full (`writer_killed`; `--json` lists their names)
    #[arg(long, value_name = "FAILURE", value_parser = fault)]
    fault: Option<Fault>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Writers of a file: one, or all that it lists.
#[derive(Args, Debug)]
pub(super) struct Which {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,
    /// The writer of this type alone
    #[arg(long = "type", visible_alias = "bus-subscriber-type", value_name = "TYPE")]
    writer_type: Option<String>,
    /// The writer of this name alone
    #[arg(long, value_name = "NAME")]
    writer: Option<String>,
}

impl Which {
    /// Their settings.
    pub(super) fn settings(&self, deployment: &Deployment) -> Result<Vec<WriterSettings>, Failure> {
        match (&self.writer, &self.writer_type) {
            (Some(name), _) => Ok(vec![deployment.writer(&config::Selection::Writer(name.clone()))?]),
            (None, Some(given)) => Ok(vec![deployment.writer(&by_type(given)?)?]),
            (None, None) => {
                let writers = deployment.listed()?;
                if writers.is_empty() {
                    let text = "`writers` lists none; choose one with `--type`";
                    return Err(Failure::new(Exit::Usage, text));
                }
                Ok(writers)
            }
        }
    }
}

fn fault(name: &str) -> Result<Fault, String> {
    let names = || Fault::ALL.map(Fault::name).join(", ");
    Fault::named(name).ok_or_else(|| format!("no such failure; known are {}", names()))
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let deployment = Deployment::load(&arguments.which.config)?;
    let (mut all, mut described_by) = (Vec::new(), Vec::new());
    for settings in arguments.which.settings(&deployment)? {
        let mut explained = guarantee::explain(&settings).await?;
        explained.faults.retain(|known| arguments.fault.is_none_or(|wanted| wanted == known.fault));
        described_by.push(settings.metadata.map(|metadata| metadata.source.describe()));
        all.push(explained);
    }
    if arguments.json {
        return Ok(output::json(&all)?);
    }
    for (at, explained) in all.iter().enumerate() {
        if at > 0 {
            output::line("")?;
        }
        head(explained, described_by[at].as_deref())?;
        match (arguments.fault, &*explained.faults) {
            (Some(_), [one]) => whole(one)?,
            (_, faults) => table(faults)?,
        }
    }
    if arguments.fault.is_none() {
        output::line(
            "\n`+ setting` strengthens, `- setting` weakens; `explain --fault FAILURE` tells of one in full, such as \
             `--fault writer_killed`",
        )?;
    }
    Ok(())
}

fn head(explained: &Explained, described_by: Option<&str>) -> Result<(), Failure> {
    let Explained { writer, writer_type, bus, reads, group, dead_letters, guarantee, destinations, .. } = explained;
    output::line(output::inline(&format!("{writer}  {writer_type}")))?;
    let letters = dead_letters.as_deref().unwrap_or("nowhere: the first bad message stops the writer");
    let writes: Vec<String> = destinations.iter().map(shown).collect();
    for (title, text) in [
        ("reads", format!("{reads} on {bus}, as group {group}")),
        ("writes", writes.join(", ")),
        ("dead letters", letters.to_owned()),
        ("guarantee", (*guarantee).to_owned()),
    ] {
        output::line(output::inline(&format!("  {title:<13} {text}")))?;
    }
    if let Some(by) = described_by {
        let text = format!("described by {by}: what it said last holds while it is away; changes need no restart");
        output::line(output::inline(&format!("  {:<13} {text}", "environments")))?;
    }
    Ok(output::line("")?)
}

fn shown(kept: &Kept) -> String {
    match &kept.scheme {
        Some(scheme) => format!("{} ({scheme}:)", kept.name),
        None => kept.name.clone(),
    }
}

/// A line a failure.
fn table(faults: &[Guarantee]) -> Result<(), Failure> {
    let mut table = output::table(["failure", "may happen", "because", "settings"]);
    for one in faults {
        let changes: Vec<String> = one.changes.iter().map(short).collect();
        output::row(&mut table, [one.title.to_owned(), one.may.to_string(), because(one), changes.join(", ")]);
    }
    for line in table.trim_fmt().lines() {
        output::line(line.trim_end())?;
    }
    Ok(())
}

/// Why, and where it is otherwise in one destination than in another.
fn because(one: &Guarantee) -> String {
    let mut text = one.because.clone();
    let alike =
        one.destinations.windows(2).all(|pair| pair[0].because == pair[1].because && pair[0].may == pair[1].may);
    let told = if alike { &one.destinations[..one.destinations.len().min(1)] } else { &one.destinations[..] };
    for There { destination, may, because } in told.iter().filter(|there| !there.because.is_empty()) {
        text += "; ";
        if !alike {
            text += &format!("{destination} ({may}): ");
        }
        text += because;
    }
    text
}

fn short(change: &Change) -> String {
    let Change { setting, now, strengthens, .. } = change;
    let sign = if *strengthens { '+' } else { '-' };
    let now = now.as_ref().map(|now| format!("={now}")).unwrap_or_default();
    format!("{sign} {setting}{now}")
}

/// All of one failure.
fn whole(one: &Guarantee) -> Result<(), Failure> {
    output::line(format!("  {}: {}", one.title, one.may))?;
    output::line(output::inline(&format!("    {}", one.because)))?;
    for There { destination, may, because } in &one.destinations {
        let because = if because.is_empty() { String::new() } else { format!("; {because}") };
        output::line(output::inline(&format!("    {destination}: {may}{because}")))?;
    }
    for Change { setting, now, strengthens, change } in &one.changes {
        let effect = if *strengthens { "stronger" } else { "weaker" };
        let now = now.as_ref().map(|now| format!(" (now {now})")).unwrap_or_default();
        output::line(output::inline(&format!("    {effect}: {setting}{now}: {change}")))?;
    }
    Ok(())
}
