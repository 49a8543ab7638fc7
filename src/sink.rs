//! What the runtime asks of a store: write these rows, and say what became of each.

use std::borrow::Cow;
use std::fmt;
use std::hash::Hash;
use std::time::Duration;

use async_trait::async_trait;

/// What a writer makes of a message and a sink writes.
pub trait Row: Send + Sync + Sized + 'static {
    /// Rows that share a key overwrite one another.
    type Key: Hash + Eq + Clone + Send + Sync;

    /// `None`: the row stands alone.
    fn key(&self) -> Option<&Self::Key>;

    /// Which of the pipeline's destinations it goes to.
    fn destination(&self) -> usize;

    /// How many rows of a table or entities it stands for; more than one only where it has no key.
    fn rows(&self) -> usize;

    /// Bytes that it takes in a batch.
    fn size(&self) -> usize;
}

/// Rows to be written in one call.
#[derive(Debug)]
pub struct Write<'a, R> {
    /// Names this set of rows. A repetition after an unknown outcome carries the same id and the
    /// same rows, so a sink may derive file names and tokens from it. Unique over all processes.
    pub id: &'a str,
    /// The rows, oldest first; no two share a key.
    pub rows: &'a [&'a R],
    /// Requests that the sink may have under way at once; at least one. Halved when the store
    /// throttles, and grown back by one.
    pub concurrency: usize,
}

/// What became of the rows of one call. Those named in neither list are durable.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Not written this time, nothing wrong with them, and known not to be under way; or it does this
    /// store no harm that they may be.
    pub again: Vec<usize>,
    /// Why those were not written, for people; names the part of the store that is in the way.
    pub reason: Option<String>,
    /// The store will never take them. One that stands for many rows is named once, with the first
    /// refusal, and those of its rows that are sound are durable.
    pub refused: Vec<(usize, Refusal)>,
    /// Values (features online, rows offline) that the store now holds because of this call.
    pub stored: u64,
    /// Values that were older than what the store holds, and so left no trace.
    pub stale: u64,
    /// How often the store refused some of the rows without saying which; they were looked for by halving.
    pub poisoned: u64,
}

/// What the whole call met. No row of it is known to be durable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SinkError {
    /// The same rows may well be taken later: a reset, a time-out, a full disk.
    #[error("not now: {reason}")]
    Transient {
        /// What happened, for people.
        reason: String,
    },
    /// The store asks for less.
    #[error("throttled: {reason}")]
    Throttled {
        /// What happened, for people.
        reason: String,
        /// How long the store asked us to wait.
        after: Option<Duration>,
    },
    /// Credentials or rights are missing. Retried; never a verdict on a row.
    #[error("denied: {reason}")]
    Denied {
        /// What happened, for people.
        reason: String,
    },
    /// A row among these is at fault, and the store does not say which.
    #[error("a row is at fault: {0}")]
    Poisoned(Refusal),
    /// An impossible state: the process ends with everything unacknowledged.
    #[error("bug: {reason}")]
    Bug {
        /// What happened, for people.
        reason: String,
    },
}

/// A place that rows are written to.
#[async_trait]
pub trait Sink<R: Row>: Send + Sync {
    /// Writes rows; returns once those that the outcome does not name are durable.
    ///
    /// Must stand repetition: the same rows may come again, after a crash in another cut.
    async fn write(&self, write: Write<'_, R>) -> Result<Outcome, SinkError>;

    /// Connects and is let in, where the store has that, and changes no row: says whether it can be reached. A writer
    /// is not ready before every store of its has answered.
    async fn probe(&self) -> Result<(), SinkError>;

    /// One row that leaves this store in the state in which writing all of these would.
    ///
    /// The rows share this key and are in order of arrival; there are at least two. Where rows have none
    /// ([`Infallible`](std::convert::Infallible)) nobody can ask, and `match *key {}` says so.
    fn collapse(&self, key: &R::Key, rows: &[&R]) -> R;

    /// What a person wants to know of it while it runs, as data for the status page; `None` where its counters say
    /// all there is. Asked once a second by the loop that everything waits for, so it only looks.
    fn summary(&self) -> Option<serde_json::Value> {
        None
    }

    /// Bytes of rows in one write from which on the store gains nothing by more; `None` where it gains by any, as
    /// one does that makes files of them.
    fn enough(&self) -> Option<usize> {
        None
    }
}

/// Why a message or a row was refused for good. The classes are part of the dead letter contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorClass {
    /// The body cannot be read.
    Decode,
    /// A type that nobody here consumes.
    UnknownType,
    /// An environment that the metadata does not know.
    UnknownEnvironment,
    /// Header and body name different environments.
    EnvironmentMismatch,
    /// A value of another type than declared or stored.
    TypeMismatch,
    /// A value that the store cannot hold.
    ValueRefused,
    /// Larger than the bus, the store or the limit allows.
    TooLarge,
    /// An observed time too far ahead of the clock.
    TimeInFuture,
    /// A vector of another dimension.
    DimensionMismatch,
    /// A file that a message names is not there.
    FileMissing,
    /// A file that a message names cannot be read.
    FileInvalid,
    /// A person decided to pass over it.
    Skipped,
}

impl ErrorClass {
    /// Every class, in the order of the documentation.
    pub const ALL: [Self; 12] = [
        Self::Decode,
        Self::UnknownType,
        Self::UnknownEnvironment,
        Self::EnvironmentMismatch,
        Self::TypeMismatch,
        Self::ValueRefused,
        Self::TooLarge,
        Self::TimeInFuture,
        Self::DimensionMismatch,
        Self::FileMissing,
        Self::FileInvalid,
        Self::Skipped,
    ];

    /// Its name in headers, metrics and filters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "DECODE",
            Self::UnknownType => "UNKNOWN_TYPE",
            Self::UnknownEnvironment => "UNKNOWN_ENVIRONMENT",
            Self::EnvironmentMismatch => "ENVIRONMENT_MISMATCH",
            Self::TypeMismatch => "TYPE_MISMATCH",
            Self::ValueRefused => "VALUE_REFUSED",
            Self::TooLarge => "TOO_LARGE",
            Self::TimeInFuture => "TIME_IN_FUTURE",
            Self::DimensionMismatch => "DIMENSION_MISMATCH",
            Self::FileMissing => "FILE_MISSING",
            Self::FileInvalid => "FILE_INVALID",
            Self::Skipped => "SKIPPED",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A verdict on a message or on a row of it: it will never be taken as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The class, for filters and metrics.
    pub class: ErrorClass,
    /// The store's own code, where it has one.
    pub code: Option<Cow<'static, str>>,
    /// What was found and what was expected, for people. Holds no payload beyond the value at fault, cut short.
    pub message: String,
    /// Index or key of the row inside the message.
    pub row: Option<Box<str>>,
    /// The table or namespace.
    pub table: Option<Box<str>>,
    /// The environment that nobody has described, where that is what is wrong: it may be described later.
    pub unknown_environment: Option<Box<str>>,
    /// What of the message a log may have: names and types, and nothing of a value or key.
    pub about: Option<Box<str>>,
}

impl Refusal {
    /// A verdict with a class and a sentence; the rest is added where it is known.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { class, code: None, message, row: None, table: None, unknown_environment: None, about: None }
    }

    /// Names the row inside the message.
    #[must_use]
    pub fn row(mut self, row: impl fmt::Display) -> Self {
        self.row = Some(row.to_string().into());
        self
    }

    /// Names the table or namespace.
    #[must_use]
    pub fn table(mut self, table: impl fmt::Display) -> Self {
        self.table = Some(table.to_string().into());
        self
    }

    /// Names the environment that is not described.
    #[must_use]
    pub fn unknown_environment(mut self, id: impl Into<Box<str>>) -> Self {
        self.unknown_environment = Some(id.into());
        self
    }

    /// Says what of its message holds nothing of a value or key, for logs.
    #[must_use]
    pub fn about(mut self, about: impl Into<Box<str>>) -> Self {
        self.about = Some(about.into());
        self
    }

    /// The same with a message that holds nothing of a value or key.
    #[must_use]
    pub fn harmless(self) -> Self {
        let about = self.message.clone();
        self.about(about)
    }

    /// As logs have it: class, code, names and types. Values and keys are for the letter.
    pub fn for_logs(&self) -> impl fmt::Display {
        let Self { class, code, table, about, .. } = self;
        let part = |before: &str, part: Option<&str>, after: &str| {
            part.map_or_else(String::new, |part| format!("{before}{part}{after}"))
        };
        let (about, code) = (part(": ", about.as_deref(), ""), part(" (code ", code.as_deref(), ")"));
        format!("{class}{about}{code}{}", part(" (table ", table.as_deref(), ")"))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class, self.message)?;
        if let Some(row) = &self.row {
            write!(f, " (row {row})")?;
        }
        Ok(())
    }
}
