//! From a file to checked settings: everything that is wrong is found before anything is used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::bus;
use super::choice::{BusBackend, Choice, MetadataProvider, SecretClientName};
use super::environments::{Surroundings, environments};
use super::errors::{ConfigError, ConfigErrors, Problem};
use super::json;
use super::layers::{Overrides, merge};
use super::raw::{RawDeployment, RawWriter, get};
use super::schemes::StoreKind;
use super::settings::{BusSettings, WriterSettings};
use super::tuning::{Tuned, machine_memory, tune};
use super::types::{self, TypeInfo};
use super::walk::Findings;
use super::writers::{self, COMMON, Outline, missing_subscription};

/// Which writer of a file is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// By its type, in any spelling (`--type`).
    Type(String),
    /// By its name (`--writer`).
    Writer(String),
    /// The only one that the file has.
    Only,
}

/// Something that is not wrong and should be known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// JSON path as the file spells it.
    pub path: String,
    /// What it is.
    pub message: String,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &*self.path {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

/// A configuration in which nothing is wrong.
#[derive(Debug)]
pub struct Loaded {
    pub(super) examined: Examined,
    bus: BusSettings,
}

/// Reads a file with what stands above it.
pub fn load(path: &Path, overrides: &Overrides) -> Result<Loaded, ConfigErrors> {
    let mut examined = examine(path, overrides);
    let errors = std::mem::take(&mut examined.errors);
    match examined.bus.clone() {
        Some(bus) if errors.is_empty() => Ok(Loaded { examined, bus }),
        _ => Err(ConfigErrors(errors)),
    }
}

impl Loaded {
    /// What should be known of the file.
    pub fn warnings(&self) -> &[Warning] {
        &self.examined.warnings
    }

    /// The bus of the whole file.
    pub fn bus(&self) -> &BusSettings {
        &self.bus
    }

    /// Topic of query results: what `publish` publishes to.
    pub fn result_topic(&self) -> Option<String> {
        writers::topic(&self.examined.file, "result_bus_topic_id")
    }

    /// Topic of dead letters.
    pub fn dlq_topic(&self) -> Option<String> {
        writers::common(&self.examined.file, "kafka_dlq_topic")
    }

    /// Names and types of the writers that the file lists.
    pub fn writers(&self) -> impl Iterator<Item = (&str, &'static TypeInfo)> {
        self.examined.writers.iter().map(|writer| (&*writer.name, writer.info))
    }

    /// The settings of one writer.
    pub fn writer(&self, selection: &Selection) -> Result<WriterSettings, ConfigErrors> {
        let outline = self.select(selection)?;
        if !outline.info.works {
            let works: Vec<&str> =
                types::types().iter().filter(|info| info.works).map(|info| info.writer_type.as_str()).collect();
            return Err(ConfigErrors::selection(format!(
                "{} is not in this version; {} are",
                outline.info.writer_type.as_str(),
                works.join(" and ")
            )));
        }
        self.examined.settings(&outline, &self.bus)
    }

    fn select(&self, selection: &Selection) -> Result<Outline, ConfigErrors> {
        let listed = &self.examined.writers;
        let names = |writers: &[&Outline]| {
            writers.iter().map(|writer| format!("`{}`", writer.name)).collect::<Vec<_>>().join(", ")
        };
        let all: Vec<&Outline> = listed.iter().collect();
        let (meant, implied) = match selection {
            Selection::Writer(name) => {
                let meant: Vec<&Outline> = listed.iter().filter(|writer| writer.name == *name).collect();
                if meant.is_empty() {
                    let known: Vec<&str> = listed.iter().map(|writer| &*writer.name).collect();
                    let hint = super::nearest::hint(name, &known);
                    return Err(ConfigErrors::selection(format!("no writer is named `{name}`; {hint}")));
                }
                (meant, None)
            }
            Selection::Type(given) => {
                let info = types::resolve(given).map_err(|error| ConfigErrors::selection(error.to_string()))?;
                let meant: Vec<&Outline> =
                    listed.iter().filter(|writer| writer.info.writer_type == info.writer_type).collect();
                (meant, listed.is_empty().then_some((given, info)))
            }
            Selection::Only => (all.clone(), None),
        };
        match (&*meant, implied) {
            ([one], _) => Ok((*one).clone()),
            ([], Some((given, info))) => {
                let (file, backend) = (&self.examined.file, self.examined.backend);
                Ok(writers::outline(String::new(), None, given, info, &RawWriter::default(), file, backend))
            }
            ([], None) => Err(ConfigErrors::selection(match selection {
                Selection::Type(given) => {
                    format!("`writers` has no {given}; it has {}; add an entry of that type", names(&all))
                }
                _ => "`writers` lists none; choose one with `--type`".to_owned(),
            })),
            (several, _) => Err(ConfigErrors::selection(format!(
                "several writers are meant: {}; choose one with `--writer`",
                names(several)
            ))),
        }
    }
}

/// A file with all that was found in it.
#[derive(Debug, Default)]
pub(super) struct Examined {
    pub(super) errors: Vec<ConfigError>,
    pub(super) warnings: Vec<Warning>,
    pub(super) unused: Vec<String>,
    pub(super) writers: Vec<Outline>,
    pub(super) bus: Option<BusSettings>,
    pub(super) raw: RawDeployment,
    pub(super) backend: Option<BusBackend>,
    /// All layers, under the schema's names.
    pub(super) file: Value,
    folder: PathBuf,
    machine: u64,
}

/// Reads a file and judges all of it.
pub(super) fn examine(path: &Path, overrides: &Overrides) -> Examined {
    let unreadable = |error: std::io::Error| ConfigError {
        path: String::new(),
        origin: None,
        problem: Problem::Unreadable(format!("{}: {error}", path.display())),
    };
    let read = std::path::absolute(path).and_then(|full| Ok((std::fs::read_to_string(path)?, full)));
    let (text, full) = match read {
        Ok(read) => read,
        Err(error) => return Examined { errors: vec![unreadable(error)], ..Examined::default() },
    };
    let folder = full.parent().unwrap_or(&full).to_owned();
    examine_text(&text, folder, overrides, machine_memory())
}

/// Judges the text of a file.
pub(super) fn examine_text(text: &str, folder: PathBuf, overrides: &Overrides, machine: u64) -> Examined {
    let (value, twice) = match json::read(text) {
        Ok(read) => read,
        Err(error) => return Examined { errors: vec![error], ..Examined::default() },
    };
    let mut findings = Findings { errors: twice, ..Findings::default() };
    let file = merge(value, overrides, &mut findings);
    let raw = RawDeployment::deserialize(&file).unwrap_or_else(|error| {
        let problem = Problem::Rule(format!("passed the checks and cannot be read: {error}; this is a bug"));
        findings.errors.push(ConfigError { path: String::new(), origin: None, problem });
        RawDeployment::default()
    });
    let mut examined = Examined { file, folder, machine, backend: bus::backend(&raw), raw, ..Examined::default() };
    let mut notes = Notes { findings, warnings: Vec::new() };
    if notes.findings.wrong.contains("") {
        // Not even an object: nothing else to say.
        examined.errors = notes.findings.errors;
        return examined;
    }
    examined.judge(&mut notes);
    let Notes { findings, mut warnings } = notes;
    warnings.extend(
        findings
            .deprecated
            .iter()
            .map(|(path, message)| Warning { path: path.clone(), message: format!("is deprecated; {message}") }),
    );
    examined.errors = findings.errors;
    examined.warnings = warnings;
    examined.unused = findings.unused.into_iter().collect();
    examined
}

/// Findings under way, and the file's own spelling of their paths.
struct Notes {
    findings: Findings,
    warnings: Vec<Warning>,
}

impl Notes {
    /// Adds an error unless the value there was already found wrong.
    fn error(&mut self, path: &str, problem: Problem) {
        if !self.is_wrong(path) {
            let path = self.spelled(path);
            self.findings.errors.push(ConfigError { path, origin: None, problem });
        }
    }

    fn warn(&mut self, path: &str, message: String) {
        let path = self.spelled(path);
        self.warnings.push(Warning { path, message });
    }

    /// Whether a value, or one that it stands in, was left out because it was wrong.
    fn is_wrong(&self, path: &str) -> bool {
        let inside = |wrong: &String| {
            path.strip_prefix(wrong.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.findings.wrong.iter().any(inside)
    }

    fn spelled(&self, path: &str) -> String {
        let known: &BTreeMap<String, String> = &self.findings.spelled;
        let ends = path.match_indices(['.', '[']).map(|(at, _)| at).chain([path.len()]);
        ends.rev_find(|end| known.contains_key(&path[..*end]))
            .map_or_else(|| path.to_owned(), |end| format!("{}{}", known[&path[..end]], &path[end..]))
    }
}

trait FindFromTheEnd: Iterator {
    fn rev_find(self, wanted: impl FnMut(&Self::Item) -> bool) -> Option<Self::Item>;
}

impl<I: Iterator> FindFromTheEnd for I {
    fn rev_find(self, mut wanted: impl FnMut(&Self::Item) -> bool) -> Option<Self::Item> {
        self.filter(|item| wanted(item)).last()
    }
}

impl Examined {
    fn judge(&mut self, notes: &mut Notes) {
        let (bus, found) = bus::settings(&self.raw, &self.folder);
        self.bus = bus;
        for (path, problem) in found.errors {
            notes.error(&path, problem);
        }
        for (path, message) in found.warnings {
            notes.warn(&path, message);
        }
        self.judge_secrets(notes);

        let (writers, found) = writers::outlines(&self.raw.writers, &self.file, self.backend);
        self.writers = writers;
        for (path, problem) in found.errors {
            notes.error(&path, problem);
        }
        for (path, message) in found.warnings {
            notes.warn(&path, message);
        }
        for writer in &self.writers {
            let tuned = self.tuned(writer);
            for (field, problem) in tuned.errors {
                notes.error(&format!("{}.{field}", writer.at), problem);
            }
            for (field, message) in tuned.warnings {
                notes.warn(&format!("{}.{field}", writer.at), message);
            }
            if writer.info.works && writers::common(&self.file, "kafka_dlq_topic").is_none() {
                let text = "is missing: without a topic of dead letters the first bad message stops the writer";
                notes.warn(&format!("{COMMON}.kafka_dlq_topic"), text.to_owned());
            }
        }
        notes.warnings.dedup();
        self.judge_environments(notes);
    }

    fn judge_secrets(&self, notes: &mut Notes) {
        let used = bus::secrets_in_use(&self.raw);
        let Some(first) = used.first() else { return };
        let at = format!("{COMMON}.secret_client");
        match get(&self.raw.common_persistence_specs.secret_client) {
            Some(client @ (SecretClientName::Aws | SecretClientName::Gcp)) => {
                let text =
                    format!("{} is not in this version, and {first} asks for it; use ENV or FILE", client.word());
                notes.error(&at, Problem::Rule(text));
            }
            Some(_) => {}
            None => {
                let text = format!("is missing, and {first} asks for it; use ENV or FILE");
                notes.error(&at, Problem::Rule(text));
            }
        }
    }

    fn judge_environments(&self, notes: &mut Notes) {
        let (found, findings) = environments(&self.raw, None, &self.surroundings());
        for (path, problem) in findings.errors {
            notes.error(&path, problem);
        }
        for (path, kind, scheme) in findings.not_yet {
            let text = format!("scheme `{scheme}` is not in this version");
            let field = match kind {
                StoreKind::Online => "online_store",
                StoreKind::Offline => "offline_store",
                StoreKind::Metrics | StoreKind::Usage | StoreKind::Vector => "",
            };
            match self.writers.iter().find(|writer| writer.info.works && writer.info.store == Some(field)) {
                Some(writer) => {
                    notes.error(&path, Problem::Rule(format!("{text}, and `{}` writes there", writer.name)))
                }
                None => notes.warn(&path, text),
            }
        }
        match get(&self.raw.metadata_provider) {
            Some(provider @ (MetadataProvider::GrpcServer | MetadataProvider::Sql))
                if self.raw.environments.is_some() =>
            {
                let text = format!("{} is not in this version; `environments` of this file are used", provider.word());
                notes.warn("metadata_provider", text);
            }
            Some(provider @ (MetadataProvider::GrpcServer | MetadataProvider::Sql)) => {
                let text = format!(
                    "{} is not in this version; add `environments` with the stores of each environment to this file, \
                     which is then used instead",
                    provider.word()
                );
                notes.error("metadata_provider", Problem::Rule(text));
                return;
            }
            Some(MetadataProvider::Config) | None => {}
        }
        for writer in &self.writers {
            if let Some(problem) = self.missing_store(writer) {
                notes.error("environments", problem);
            }
            let has_store = |id: &&String| {
                let environment = &found.entries[*id];
                match writer.info.store {
                    Some("online_store") => environment.online_store.is_some(),
                    Some("offline_store") => environment.offline_store.is_some(),
                    _ => true,
                }
            };
            for id in found.entries.keys().filter(|id| !has_store(id)) {
                let at = super::path::key("environments", id);
                let store = writer.info.store.unwrap_or_default();
                if self.missing_store(writer).is_none() && !notes.is_wrong(&format!("{at}.{store}")) {
                    notes.warn(&at, format!("has no `{store}`, so `{}` writes nothing for it", writer.name));
                }
            }
        }
    }

    /// Why a writer has nowhere to write, where no environment has a store for it.
    fn missing_store(&self, writer: &Outline) -> Option<Problem> {
        let field = writer.info.store?;
        let has = |environment: &Value| environment.get(field).is_some();
        let environments = self.file.get("environments").and_then(Value::as_object);
        if environments.is_some_and(|environments| environments.values().any(has)) {
            return None;
        }
        let id = environments.and_then(|environments| environments.keys().next()).map_or("prod", String::as_str);
        let add = format!("add it under `environments.{id}`, with its `uri`");
        Some(Problem::Missing {
            writer: writer.name.clone(),
            writer_type: writer.info.writer_type.as_str(),
            field: field.to_owned(),
            add,
        })
    }

    fn surroundings(&self) -> Surroundings<'_> {
        Surroundings { folder: &self.folder, secrets: bus::secret_client(&self.raw, &self.folder) }
    }

    /// The tuning of a writer.
    pub(super) fn tuned(&self, writer: &Outline) -> Tuned {
        let nothing = Value::Object(Map::new());
        let entry = writer.number.and_then(|number| self.file.get("writers")?.get(number)).unwrap_or(&nothing);
        tune(writer.info.writer_type, &self.file, entry, &self.entry(writer), self.machine)
    }

    fn entry(&self, writer: &Outline) -> RawWriter {
        writer.number.and_then(|number| self.raw.writers.get(number)).cloned().unwrap_or_default()
    }

    /// The environments as a writer sees them.
    pub(super) fn environments(&self, writer: &Outline) -> super::settings::Environments {
        let prefix = get(&self.entry(writer).storage_cache_prefix);
        environments(&self.raw, prefix.as_deref(), &self.surroundings()).0
    }

    /// The settings of a writer; fails only for one that the file does not list.
    fn settings(&self, writer: &Outline, bus: &BusSettings) -> Result<WriterSettings, ConfigErrors> {
        let mut errors = Vec::new();
        if writer.subscription.is_none() {
            errors.push(missing_subscription(writer, self.backend));
        }
        errors.extend(self.missing_store(writer).map(|problem| ("environments".to_owned(), problem)));
        let Tuned { tuning, listen, skip_offline_writes_for_online_cached_features, errors: rules, .. } =
            self.tuned(writer);
        errors.extend(rules.into_iter().map(|(path, problem)| (path.to_owned(), problem)));
        let (Some(subscription), true) = (writer.subscription.clone(), errors.is_empty()) else {
            let error = |(path, problem)| ConfigError { path, origin: None, problem };
            return Err(ConfigErrors(errors.into_iter().map(error).collect()));
        };
        let entry = self.entry(writer);
        Ok(WriterSettings {
            name: writer.name.clone(),
            writer_type: writer.info.writer_type,
            bus: bus.clone(),
            subscription,
            group: writer.group.clone(),
            dlq_topic: writers::common(&self.file, "kafka_dlq_topic"),
            environments: Arc::new(self.environments(writer)),
            tuning,
            query_table_write_drop_ratio: get(&entry.query_table_write_drop_ratio).map_or(0.0, |ratio| ratio.0),
            skip_offline_writes_for_online_cached_features,
            listen,
        })
    }
}
