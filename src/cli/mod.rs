//! The command line: what can be asked for, and who answers it.
//!
//! One file per command; each has its arguments and the function that does it. Results go to
//! stdout, logs and errors to stderr.

mod check;
mod clock;
mod demo;
mod deployment;
mod dlq;
mod doctor;
pub mod exit;
mod explain;
mod get;
mod input;
mod made;
mod metadata;
mod output;
mod peek;
mod plans;
mod progress;
mod publish;
mod run;
mod session;
mod show;
mod signals;
mod skip;
mod text;
mod topic;

use clap::{Parser, Subcommand};

use crate::telemetry::build;
use crate::telemetry::logs::LogFormat;
use exit::Failure;

/// Background persistence writers: from the message bus of a feature platform into its stores.
///
/// With --type or --writer it runs a writer until it is asked to stop; every other job is a command.
#[derive(Debug, Parser)]
#[command(
    version = build::FULL.as_str(),
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true
)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 64 usage, 65 stopped by what is on the bus, 78 configuration.\n\
                        `chalk-writer demo` shows all of it with nothing installed.")]
pub struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::Arguments,
    /// How log lines look; `RUST_LOG` filters them
    #[arg(long, value_name = "FORMAT", default_value = "auto", global = true)]
    pub log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Arguments),
    /// Print the JSON Schema of the configuration file, for editors
    Schema,
    Types(check::TypesArguments),
    Explain(explain::Arguments),
    Doctor(doctor::Arguments),
    Publish(publish::Arguments),
    Peek(peek::Arguments),
    Get(get::Arguments),
    Show(show::Arguments),
    #[command(subcommand)]
    Dlq(dlq::Command),
    Skip(skip::Arguments),
    #[command(subcommand)]
    Metadata(metadata::Command),
    Demo(demo::Arguments),
}

impl CommandLine {
    /// What is logged without `RUST_LOG`: a command's result is on stdout, so it only warns.
    pub const fn default_level(&self) -> &'static str {
        match self.command {
            None | Some(Command::Metadata(_)) => "info",
            // It shows its dead letters itself, and they are part of the show.
            Some(Command::Demo(_)) => "error",
            Some(_) => "warn",
        }
    }

    /// Whether it runs a writer, whose last word belongs into its log.
    pub const fn is_writer(&self) -> bool {
        self.command.is_none()
    }

    /// Does what was asked for.
    pub async fn run(self) -> Result<(), Failure> {
        match self.command {
            Some(Command::Check(arguments)) => check::check(&arguments),
            Some(Command::Schema) => check::schema(),
            Some(Command::Types(arguments)) => check::types(&arguments),
            Some(Command::Explain(arguments)) => explain::run(arguments).await,
            Some(Command::Doctor(arguments)) => doctor::run(arguments).await,
            Some(Command::Publish(arguments)) => publish::run(arguments).await,
            Some(Command::Peek(arguments)) => peek::run(arguments).await,
            Some(Command::Get(arguments)) => get::run(arguments).await,
            Some(Command::Show(arguments)) => show::run(arguments).await,
            Some(Command::Dlq(command)) => dlq::run(command).await,
            Some(Command::Skip(arguments)) => skip::run(arguments).await,
            Some(Command::Metadata(command)) => metadata::run(command).await,
            Some(Command::Demo(arguments)) => demo::run(arguments).await,
            None => run::run(self.run).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::CommandLine;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }
}
