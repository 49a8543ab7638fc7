//! What is wrong with a configuration: every finding with its JSON path, none with a secret in it.

use std::fmt;

use serde::ser::{Serialize, SerializeStruct, Serializer};

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// JSON path as the file spells it (`writers[1].bus_subscriber_type`); empty for the file as a whole.
    pub path: String,
    /// The environment variable or flag that gave the value; `None` is the file.
    pub origin: Option<String>,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with one place of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file itself cannot be had. Who says it names the file, as for every other finding in it.
    #[error("the configuration cannot be read: {0}")]
    Unreadable(String),
    /// Not JSON.
    #[error("line {line}, column {column}: {reason}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What the parser says.
        reason: String,
    },
    /// One key twice in one object, of which a parser would silently keep the last.
    #[error("stands twice in one object")]
    DuplicateKey,
    /// A key that no level of the file has, or that another level has.
    #[error("unknown key; {hint}")]
    UnknownKey {
        /// The nearest known name, where it belongs, or all known names.
        hint: String,
    },
    /// A value of another type or form.
    #[error("expected {expected}, found {found}")]
    WrongValue {
        /// With an example where that helps.
        expected: String,
        /// The value, or its type where it may be secret.
        found: String,
    },
    /// A word that is none of the known ones.
    #[error("unknown value {found}; {hint}")]
    UnknownValue {
        /// The value.
        found: String,
        /// The nearest known value and all of them.
        hint: String,
    },
    /// Two names of one field that disagree.
    #[error("`{first}` is {first_value} and `{second}`, which means the same, is {second_value}; keep one of them")]
    TwoSpellings {
        /// Path of the one.
        first: String,
        /// Its value.
        first_value: String,
        /// Path of the other.
        second: String,
        /// Its value.
        second_value: String,
    },
    /// A field that a writer cannot do without.
    #[error("writer `{writer}` ({writer_type}) needs `{field}`, which is missing; {add}")]
    Missing {
        /// The writer's name.
        writer: String,
        /// Its type.
        writer_type: &'static str,
        /// The field's name.
        field: String,
        /// Where it belongs.
        add: String,
    },
    /// A rule over several fields, or over the inside of one.
    #[error("{0}")]
    Rule(String),
    /// A writer was asked for that this file or this version does not have; a mistake of usage.
    #[error("{0}")]
    Selection(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.path, &self.origin) {
            ("", None) => write!(f, "{}", self.problem),
            ("", Some(origin)) => write!(f, "{origin}: {}", self.problem),
            (path, None) => write!(f, "{path}: {}", self.problem),
            (path, Some(origin)) => write!(f, "{path} ({origin}): {}", self.problem),
        }
    }
}

impl Serialize for ConfigError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("ConfigError", 3)?;
        fields.serialize_field("path", &self.path)?;
        fields.serialize_field("origin", &self.origin)?;
        fields.serialize_field("message", &self.problem.to_string())?;
        fields.end()
    }
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    /// Whether the command line is at fault (exit code 64) and not the file (exit code 78).
    pub fn is_usage(&self) -> bool {
        self.0.iter().all(|error| matches!(error.problem, Problem::Selection(_)))
    }

    pub(super) fn selection(text: impl Into<String>) -> Self {
        Self(vec![ConfigError { path: String::new(), origin: None, problem: Problem::Selection(text.into()) }])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if at == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
