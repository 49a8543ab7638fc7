//! `doctor`: connects, and verifies all that a writer will need. It changes nothing that a running writer would notice.

mod bus;
mod group;
mod memory;
mod report;
mod stores;
mod subscription;
mod topics;

use clap::{ArgGroup, Args};

use super::deployment::Deployment;
use super::exit::{Exit, Failure};
use super::explain::Which;
use super::output;
use crate::config::settings::WriterSettings;
use crate::store::examine::{Finding, Grade};
use report::Report;

/// Connect and verify: bus, topics, groups, stores, rights, clocks, memory; each with its fix. Changes nothing
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("one").args(["writer_type", "writer"]).multiple(false)))]
pub(super) struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints what was found; something that fails is exit code 1, and the output has told it.
pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let deployment = Deployment::load(&arguments.which.config)?;
    let all = arguments.which.settings(&deployment)?;
    let mut reports = Vec::new();
    for settings in &all {
        let report = examine(settings, &all).await?;
        if !arguments.json {
            if !reports.is_empty() {
                output::line("")?;
            }
            report.print()?;
        }
        reports.push(report);
    }
    if arguments.json {
        output::json(&reports)?;
    } else {
        let count = |grade| reports.iter().flat_map(|report| &report.checks).filter(|one| one.grade == grade).count();
        let (warns, fails) = (count(Grade::Warn), count(Grade::Fail));
        output::line(format!(
            "\n{}, {}",
            output::count(fails as u64, "failure"),
            output::count(warns as u64, "warning")
        ))?;
    }
    if reports.iter().all(Report::is_sound) { Ok(()) } else { Err(Failure::told(Exit::Failed)) }
}

/// Asks who describes the environments, where that is not the file.
async fn metadata_is_sound(settings: &WriterSettings, report: &mut Report) -> bool {
    let Some(metadata) = &settings.metadata else { return true };
    let of = format!("metadata of {}", metadata.source.describe());
    match crate::metadata::fetch(metadata).await {
        Ok(found) => {
            let many = found.environments.as_object().map_or(0, serde_json::Map::len);
            report.add(&of, Finding::ok("described", output::count(many as u64, "environment")));
            true
        }
        Err(error) => {
            let fix = if error.denied {
                "give this writer the right to ask, or correct where it asks (docs/metadata.md)"
            } else {
                "start what describes the environments, and let this machine reach it; a running writer waits for that"
            };
            report.add(&of, Finding::fail("described", error.text, fix));
            false
        }
    }
}

async fn examine(settings: &WriterSettings, all: &[WriterSettings]) -> Result<Report, Failure> {
    let mut report = Report::new(settings);
    if !metadata_is_sound(settings, &mut report).await {
        // Without it, nothing is known of what the writer needs.
        return Ok(report);
    }
    bus::examine(settings, all, &mut report).await?;
    stores::examine(settings, &mut report).await?;
    memory::examine(settings, &mut report);
    Ok(report)
}
