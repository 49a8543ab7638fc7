//! What was found of one writer, and how it is shown.

use serde::{Serialize, Serializer};

use crate::cli::output;
use crate::config::settings::WriterSettings;
use crate::store::examine::{Finding, Grade};

/// What was found of one writer.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) writer: String,
    #[serde(rename = "type")]
    pub(super) writer_type: &'static str,
    pub(super) checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    /// Where: `bus`, a topic, a store.
    pub(super) of: String,
    pub(super) check: String,
    #[serde(rename = "result", serialize_with = "grade")]
    pub(super) grade: Grade,
    pub(super) found: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) fix: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn grade<S: Serializer>(grade: &Grade, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(word(*grade))
}

const fn word(grade: Grade) -> &'static str {
    match grade {
        Grade::Ok => "ok",
        Grade::Warn => "warn",
        Grade::Fail => "fail",
    }
}

impl Report {
    pub(super) fn new(settings: &WriterSettings) -> Self {
        Self { writer: settings.name.clone(), writer_type: settings.writer_type.as_str(), checks: Vec::new() }
    }

    pub(super) fn add(&mut self, of: &str, finding: Finding) {
        let Finding { check, grade, found, fix } = finding;
        self.checks.push(Check { of: of.to_owned(), check, grade, found, fix });
    }

    /// Whether nothing fails.
    pub(super) fn is_sound(&self) -> bool {
        self.checks.iter().all(|check| check.grade != Grade::Fail)
    }

    pub(super) fn print(&self) -> anyhow::Result<()> {
        output::line(output::inline(&format!("{}  {}", self.writer, self.writer_type)))?;
        let mut of = "";
        for check in &self.checks {
            if check.of != of {
                output::line(output::inline(&format!("  {}", check.of)))?;
                of = &check.of;
            }
            let Check { grade, check, found, fix, .. } = check;
            output::line(output::inline(&format!("    {:<4}  {check:<12}  {found}", word(*grade))))?;
            if !fix.is_empty() {
                output::line(output::inline(&format!("          {:<12}  fix: {fix}", "")))?;
            }
        }
        Ok(())
    }
}
