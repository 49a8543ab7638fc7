//! How a command ends: the exit codes, and the sentence that goes with them.

use std::fmt;
use std::process::ExitCode;

use crate::bus::BusError;
use crate::runtime::PipelineError;
use crate::writer::{PlanError, StartError};

/// Why a command did not do what it was asked to; each has an exit code of its own, after `sysexits.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 1: it failed, a drain ran out of time or was forced, or there was a panic.
    Failed = 1,
    /// 64: the command line cannot be understood, or names a type that this version does not have.
    Usage = 64,
    /// 65: what is on the bus does not allow to go on: too many bad messages, a bad one without a
    /// dead letter topic, messages lost before they were read.
    Data = 65,
    /// 78: the configuration, or a topic or subscription that it names is not there, or not any more.
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command that failed.
#[derive(Debug)]
pub struct Failure {
    /// With which code the process ends.
    pub exit: Exit,
    /// What happened and what to do, for people; more lines than one where there is more to say.
    /// Empty where the command's own output says it already.
    pub text: String,
}

impl Failure {
    /// A failure with a sentence.
    pub fn new(exit: Exit, text: impl fmt::Display) -> Self {
        Self { exit, text: text.to_string() }
    }

    /// A failure that the command's output has told already.
    pub const fn told(exit: Exit) -> Self {
        Self { exit, text: String::new() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Says with which code a process ends when this goes wrong.
pub trait OrExit<T> {
    /// The value, or a failure with the code and the error's own words.
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(exit, format_args!("{error:#}")))
    }
}

impl From<BusError> for Failure {
    fn from(error: BusError) -> Self {
        let exit = match error {
            BusError::NotFound(_) | BusError::Settings(_) => Exit::Configuration,
            BusError::Gap(_) => Exit::Data,
            BusError::Unavailable(_)
            | BusError::Denied(_)
            | BusError::TooLarge(_)
            | BusError::Refused(_)
            | BusError::Failed(_) => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

impl From<PipelineError> for Failure {
    fn from(error: PipelineError) -> Self {
        match error {
            PipelineError::Bus(error) => error.into(),
            PipelineError::Budget(_) | PipelineError::NoDeadLetterTopic(_) => Self::new(Exit::Data, error),
            PipelineError::DrainTimeout { .. } | PipelineError::Bug(_) => Self::new(Exit::Failed, error),
        }
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        let exit = match error {
            PlanError::NotInThisVersion(_) => Exit::Usage,
            PlanError::Settings(_) => Exit::Configuration,
        };
        Self::new(exit, error)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Configuration(_) => Self::new(Exit::Configuration, error),
            StartError::Harmful(_) => Self::new(Exit::Usage, error),
            StartError::Bus(error) => error.into(),
            StartError::Stopped(_) => Self::new(Exit::Failed, error),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Failed, format_args!("{error:#}"))
    }
}
