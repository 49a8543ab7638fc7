//! `check`, `schema` and `types`: what the configuration says, may say, and which writers there are.

use std::path::PathBuf;

use clap::Args;

use crate::config::{self, Overrides};
use crate::writer;

use super::exit::{Exit, Failure};
use super::output;

/// Check a configuration file: everything that is wrong at once; contacts nothing
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// List the writer types, with what each reads and writes and whether this version has it
#[derive(Args, Debug)]
pub(super) struct TypesArguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints what was found; an error in the file is exit code 78, and the output has told it.
pub(super) fn check(arguments: &Arguments) -> Result<(), Failure> {
    let report = config::check(&arguments.config, &Overrides::from_process(), &writer::registry());
    if arguments.json {
        output::json(&report)?;
    } else {
        output::line(report.to_string().trim_start())?;
    }
    if report.ok { Ok(()) } else { Err(Failure::told(Exit::Configuration)) }
}

pub(super) fn schema() -> Result<(), Failure> {
    Ok(output::json(&config::schema(&writer::registry()))?)
}

pub(super) fn types(arguments: &TypesArguments) -> Result<(), Failure> {
    if arguments.json {
        return Ok(output::json(&config::types(&writer::registry()))?);
    }
    Ok(output::write(config::types_text(&writer::registry()).as_bytes())?)
}
