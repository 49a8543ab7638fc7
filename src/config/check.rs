//! What the command `check` says of a file: nothing is contacted and no secret is shown.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::errors::ConfigError;
use super::examine::{Examined, examine};
use super::layers::Overrides;
use super::registry::Registry;
use super::settings::{BusSettings, Environment, StoreSettings};
use super::store_kind::StoreKind;
use super::units::{show_duration, show_size};
use super::warning::Warning;
use super::writers::{Outline, common};

/// Everything that a file says, and what is wrong with it.
#[derive(Clone, Debug, Serialize)]
pub struct CheckReport {
    /// The file.
    pub file: String,
    /// Whether a writer could start from it.
    pub ok: bool,
    /// What is wrong.
    pub errors: Vec<ConfigError>,
    /// What should be known.
    pub warnings: Vec<Warning>,
    /// Fields of Chalk that this program accepts and does not use.
    pub unused: Vec<String>,
    /// The bus, without credentials.
    pub bus: Option<String>,
    /// What the bus keeps by itself and may bury or lose messages by, which is not asked here.
    pub unasked: Option<&'static str>,
    /// Who describes the environments, which is not asked here; `None` where the file does.
    pub environments_from: Option<String>,
    /// The writers that the file lists.
    pub writers: Vec<CheckedWriter>,
}

/// One writer.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedWriter {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub writer_type: &'static str,
    /// `works`, or `not in this version`.
    pub state: &'static str,
    /// What it reads.
    pub subscription: Option<String>,
    /// Its consumer group.
    pub group: String,
    /// What it publishes to.
    pub publishes_to: Option<String>,
    /// Where bad messages go.
    pub dead_letters: Option<String>,
    /// When a batch is written, and the memory for them.
    pub batches: String,
    /// Environments and the store that it writes to in each.
    pub environments: Vec<CheckedEnvironment>,
}

/// One environment, as one writer sees it.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedEnvironment {
    /// Its id.
    pub id: String,
    /// The store, credentials masked; `None` where the writer has none there.
    pub store: Option<String>,
    /// Number of declared features; `None` where there is no list, and so every feature is stored.
    pub features: Option<usize>,
}

/// Checks a file by itself, against what this version has.
pub fn check(path: &Path, overrides: &Overrides, registry: &Registry) -> CheckReport {
    report(path, examine(path, overrides, registry))
}

pub(super) fn report(path: &Path, examined: Examined) -> CheckReport {
    let writers = examined.writers.iter().map(|writer| checked(&examined, writer)).collect();
    CheckReport {
        file: path.display().to_string(),
        ok: examined.errors.is_empty(),
        bus: examined.bus.as_ref().map(|bus| format!("{} {}", bus.name(), bus.place())),
        unasked: examined.bus.as_ref().and_then(unasked),
        environments_from: environments_from(&examined),
        writers,
        errors: examined.errors,
        warnings: examined.warnings,
        unused: examined.unused,
    }
}

fn unasked(bus: &BusSettings) -> Option<&'static str> {
    match bus {
        BusSettings::Pubsub(_) => Some(
            "policies of the subscriptions are not asked here: a dead letter policy of Google's buries what a writer still \
             retries, once it was delivered `max_delivery_attempts` times; `doctor` and every start look for one",
        ),
        BusSettings::Kafka(_) | BusSettings::Local(_) => None,
    }
}

fn environments_from(examined: &Examined) -> Option<String> {
    let settings = examined.writers.iter().find_map(|writer| examined.metadata(writer).ok().flatten())?;
    Some(settings.source.describe())
}

fn checked(examined: &Examined, writer: &Outline) -> CheckedWriter {
    let tuning = examined.tuned(writer).tuning;
    let kind = writer.info.store.and_then(StoreKind::of_field);
    let store = |environment: &Environment| {
        let shown: Vec<String> = environment.stores(kind?).into_iter().map(show_store).collect();
        (!shown.is_empty()).then(|| shown.join(", "))
    };
    CheckedWriter {
        name: writer.name.clone(),
        writer_type: writer.info.name,
        state: examined.registry.state(writer.info.writer_type()),
        subscription: writer.subscription.clone(),
        group: writer.group.clone(),
        publishes_to: writer.publishes.clone(),
        dead_letters: common(&examined.file, "kafka_dlq_topic"),
        batches: format!(
            "up to {} rows, {}, {}; memory {}",
            tuning.batch_max_rows,
            show_size(tuning.batch_max_bytes as u64),
            show_duration(tuning.batch_max_age),
            show_size(tuning.memory_limit as u64)
        ),
        environments: examined
            .environments(writer)
            .entries
            .iter()
            .map(|(id, environment)| CheckedEnvironment {
                id: id.clone(),
                store: store(environment),
                features: environment.features.as_ref().map(std::collections::BTreeMap::len),
            })
            .collect(),
    }
}

fn show_store((field, store): (&'static str, &StoreSettings)) -> String {
    let which = if field == "uri" { String::new() } else { format!("{field} ") };
    let uri = store.uri.describe();
    match &*store.cache_prefix {
        "" => format!("{which}{uri}"),
        prefix => format!("{which}{uri} (keys begin with `{prefix}`)"),
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.errors {
            writeln!(f, "error: {error}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        if !self.unused.is_empty() {
            writeln!(f, "accepted and not used: {}", self.unused.join(", "))?;
        }
        if let Some(bus) = &self.bus {
            writeln!(f, "\nbus  {bus}")?;
        }
        if let Some(unasked) = self.unasked {
            writeln!(f, "     {unasked}")?;
        }
        if let Some(from) = &self.environments_from {
            writeln!(f, "environments  described by {from}, which is not asked here")?;
        }
        for writer in &self.writers {
            writeln!(f, "\n{}  {} ({})", writer.name, writer.writer_type, writer.state)?;
            writeln!(f, "  reads         {}", writer.subscription.as_deref().unwrap_or("?"))?;
            writeln!(f, "  group         {}", writer.group)?;
            if let Some(topic) = &writer.publishes_to {
                writeln!(f, "  publishes to  {topic}")?;
            }
            writeln!(f, "  dead letters  {}", writer.dead_letters.as_deref().unwrap_or("nowhere"))?;
            writeln!(f, "  batches       {}", writer.batches)?;
            for environment in &writer.environments {
                let store = environment.store.as_deref().unwrap_or("no store");
                let features = match environment.features {
                    None => "every feature".to_owned(),
                    Some(1) => "1 feature".to_owned(),
                    Some(number) => format!("{number} features"),
                };
                writeln!(f, "  environment   {}: {store}, {features}", environment.id)?;
            }
        }
        match self.errors.len() {
            0 => write!(f, "\n{}: nothing wrong", self.file),
            1 => write!(f, "\n{}: 1 error", self.file),
            number => write!(f, "\n{}: {number} errors", self.file),
        }
    }
}
