//! Judges a whole file: every rule that reaches beyond one value, with the file's own spelling of paths.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::bus;
use super::choice::{BusBackend, Choice, MetadataProvider};
use super::contradictions::Around;
use super::environments::{EnvironmentFindings, Own, Surroundings, environments};
use super::errors::{ConfigError, ConfigErrors, Problem};
use super::json;
use super::layers::{Overrides, merge};
use super::path;
use super::raw::{RawDeployment, RawWriter, get};
use super::registry::{Registry, StoreDescription};
use super::secret::{SecretClient, SecretRef};
use super::settings::{
    BusSettings, Environment, Environments, MaxStaleness, MetadataSettings, Publishes, WriterSettings,
};
use super::shorten::shorten;
use super::store_kind::StoreKind;
use super::strays::strays;
use super::tuning::{Tuned, machine_memory, tune};
use super::walk::{Findings, Place, ReadBy};
use super::warning::Warning;
use super::writers::{self, COMMON, Outline, missing_subscription};
use super::{contradictions, metadata, mirroring, modes, schema};

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
    /// What this version has.
    pub(super) registry: Registry,
    folder: PathBuf,
    machine: u64,
    /// Whether `environments` are what the metadata provider described, and not the file's.
    told: bool,
}

/// The text of a file as it was read, which may be judged again with other things above it.
#[derive(Clone, Debug)]
pub struct Text {
    text: String,
    folder: PathBuf,
}

/// Reads a file, and judges nothing.
pub fn read(path: &Path) -> Result<Text, ConfigErrors> {
    let unreadable = |error: std::io::Error| {
        let problem = Problem::Unreadable(error.to_string());
        ConfigErrors(vec![ConfigError { path: String::new(), origin: None, problem }])
    };
    let full = std::path::absolute(path).map_err(unreadable)?;
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    Ok(Text { text, folder: full.parent().unwrap_or(&full).to_owned() })
}

/// Reads a file and judges all of it.
pub(super) fn examine(path: &Path, overrides: &Overrides, registry: &Registry) -> Examined {
    match read(path) {
        Ok(text) => text.examine(overrides, registry),
        Err(ConfigErrors(errors)) => Examined { errors, ..Examined::default() },
    }
}

impl Text {
    pub(super) fn examine(&self, overrides: &Overrides, registry: &Registry) -> Examined {
        examine_text(&self.text, self.folder.clone(), overrides, registry, machine_memory())
    }
}

/// Judges the text of a file.
fn examine_text(text: &str, folder: PathBuf, overrides: &Overrides, registry: &Registry, machine: u64) -> Examined {
    let (value, twice) = match json::read(text) {
        Ok(read) => read,
        Err(error) => return Examined { errors: vec![*error], ..Examined::default() },
    };
    let mut findings = Findings { schema: Arc::new(schema::of(registry)), errors: twice, ..Findings::default() };
    let mut file = merge(value, overrides, &mut findings);
    let raw = RawDeployment::deserialize(&file).unwrap_or_else(|error| {
        let problem = Problem::Rule(format!("passed the checks and cannot be read: {error}; this is a bug"));
        findings.errors.push(ConfigError { path: String::new(), origin: None, problem });
        RawDeployment::default()
    });
    let (backend, registry) = (bus::backend(&raw), registry.clone());
    // Names of topics and subscriptions are read from `file` alone.
    if backend == Some(BusBackend::Pubsub)
        && let Some(project) = get(raw.common_persistence_specs.google_cloud_project.as_ref())
    {
        shorten(&mut file, &project);
    }
    let told = overrides.flags.iter().any(|flag| flag.path == "environments");
    let mut examined = Examined { raw, backend, file, registry, folder, machine, told, ..Examined::default() };
    let mut notes = Notes { findings, warnings: Vec::new() };
    if notes.findings.wrong.contains("") {
        // Not even an object: nothing else to say.
        examined.errors = notes.findings.errors;
        return examined;
    }
    examined.judge(&mut notes);
    let Notes { findings, mut warnings } = notes;
    warnings.extend(strays(&overrides.environment));
    let mut deprecated = findings.deprecated;
    let retired = findings.retired.into_iter().filter(|place| !examined.is_subscription(place));
    deprecated.extend(retired.map(|place| (place.given, "Chalk no longer uses it".to_owned())));
    let deprecated = deprecated.into_iter();
    warnings.extend(deprecated.map(|(path, message)| Warning { path, message: format!("is deprecated; {message}") }));
    examined.errors = findings.errors;
    examined.warnings = warnings;
    let unread = findings.read_by.into_iter().filter(|field| !examined.is_read(field)).map(|field| field.place.given);
    examined.unused = findings.unused.into_iter().chain(unread).collect::<BTreeSet<_>>().into_iter().collect();
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
        let error = ConfigError { path: self.spelled(path), origin: None, problem };
        if !self.is_wrong(path) && !self.findings.errors.contains(&error) {
            self.findings.errors.push(error);
        }
    }

    fn warn(&mut self, path: &str, message: String) {
        let warning = Warning { path: self.spelled(path), message };
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Whether a value, or one that it stands in, was left out because it was wrong.
    fn is_wrong(&self, path: &str) -> bool {
        let inside = |wrong: &String| {
            path.strip_prefix(wrong.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.findings.wrong.iter().any(inside)
    }

    fn spelled(&self, path: &str) -> String {
        let known = &self.findings.spelled;
        let mut ends = path.match_indices(['.', '[']).map(|(at, _)| at).chain([path.len()]);
        ends.rfind(|end| known.contains_key(&path[..*end]))
            .map_or_else(|| path.to_owned(), |end| format!("{}{}", known[&path[..end]], &path[end..]))
    }
}

/// Whether an environment has an online store and, by its list of features, nothing to put there: a
/// feature without a staleness is not cached, and no feature turns that around.
fn caches_nothing(environment: &Environment) -> bool {
    let lasts = |staleness: Option<MaxStaleness>| {
        staleness.is_some_and(|staleness| staleness != MaxStaleness::For(Duration::ZERO))
    };
    let Some(features) = &environment.features else { return false };
    environment.online_store.is_some()
        && !lasts(environment.default_max_staleness)
        && !features.values().any(|feature| feature.store_online == Some(true) || lasts(feature.max_staleness))
}

impl Examined {
    fn judge(&mut self, notes: &mut Notes) {
        let (bus, found) = bus::settings(&self.raw, &self.folder, &self.registry);
        self.bus = bus;
        for (path, problem) in found.errors {
            notes.error(&path, problem);
        }
        for (path, message) in found.warnings {
            notes.warn(&path, message);
        }
        self.judge_secrets(notes);

        let (writers, found) = writers::outlines(&self.raw.writers, &self.file, self.backend, &self.registry);
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
                notes.error(&self.tuning_path(writer, field), problem);
            }
            for (field, message) in tuned.warnings {
                notes.warn(&self.tuning_path(writer, field), message);
            }
            if self.works(writer) {
                for (path, problem) in self.ways(writer) {
                    notes.error(&path, problem);
                }
            }
            if self.works(writer) {
                for (path, problem) in self.contradictions(writer) {
                    notes.error(&path, problem);
                }
            }
            if self.works(writer) && writers::common(&self.file, modes::DEAD_LETTERS).is_none() {
                let text = "is missing: without a topic of dead letters the first bad message stops the writer";
                notes.warn(&format!("{COMMON}.{}", modes::DEAD_LETTERS), text.to_owned());
            }
        }
        for (path, problem) in
            contradictions::between_writers(&self.writers, &self.registry, |writer| self.environments(writer))
        {
            notes.error(&path, problem);
        }
        self.judge_environments(notes);
    }

    fn works(&self, writer: &Outline) -> bool {
        self.registry.runs(writer.info.writer_type())
    }

    /// Whether a writer of this version uses a field: of an entry of `writers`, the one that it is the entry of.
    fn is_read(&self, field: &ReadBy) -> bool {
        let entry = self.writers.iter().find(|writer| field.place.canonical.starts_with(&format!("{}.", writer.at)));
        let ours = |name: &str| entry.is_none_or(|writer| writer.info.name == name);
        self.registry
            .writers
            .iter()
            .map(|known| known.as_str())
            .any(|name| ours(name) && field.types.iter().any(|reads| reads == name))
    }

    /// Whether a field names what a writer of the file reads, whatever Chalk does with it.
    fn is_subscription(&self, place: &Place) -> bool {
        let mut fields = self
            .writers
            .iter()
            .filter(|writer| self.works(writer))
            .flat_map(|writer| std::iter::once(writer.info.reads).chain(writer.info.reads_topic));
        fields.any(|field| place.canonical == format!("{COMMON}.{field}"))
    }

    /// What is wrong with the ways that a writer's rows and messages take, by path.
    fn ways(&self, writer: &Outline) -> Vec<(String, Problem)> {
        let entry = self.entry(writer);
        let modes = modes::of_type(&entry, &self.raw, &self.folder).metrics;
        let stores = modes::missing_stores(writer, &modes, &self.raw);
        let mirror = mirroring::problems(writer, &entry, &self.raw);
        modes::publishing(writer, self.backend).into_iter().chain(stores).chain(mirror).collect()
    }

    /// Settings of a writer that cannot hold at the same time, by path.
    fn contradictions(&self, writer: &Outline) -> Vec<(String, Problem)> {
        let dead_letters = writers::common(&self.file, "kafka_dlq_topic");
        let around = Around {
            file: &self.file,
            bus: self.bus.as_ref(),
            registry: &self.registry,
            dead_letters: dead_letters.as_deref(),
        };
        let found = contradictions::of_writer(&around, writer, &self.tuned(writer).tuning);
        let of_tuning = found.of_tuning.into_iter();
        of_tuning.map(|(field, problem)| (self.tuning_path(writer, field), problem)).chain(found.elsewhere).collect()
    }

    /// Where a tuning field stands: in the writer's entry, else at the top level.
    fn tuning_path(&self, writer: &Outline, field: &str) -> String {
        let group = field.split('.').next().unwrap_or(field);
        let own = writer.number.and_then(|number| self.file.get("writers")?.get(number)?.get(group));
        if own.is_some() { format!("{}.{field}", writer.at) } else { field.to_owned() }
    }

    fn judge_secrets(&self, notes: &mut Notes) {
        let used = bus::secrets_in_use(&self.raw);
        let Some((first, _)) = used.first() else { return };
        let at = format!("{COMMON}.secret_client");
        let Some(client) = bus::secret_client(&self.raw, &self.folder) else {
            let text = format!("is missing, and {first} asks for it; use AWS, GCP, ENV or FILE");
            notes.error(&at, Problem::Rule(text));
            return;
        };
        let SecretClient::Manager(manager) = client else { return };
        for (path, text) in used {
            let SecretRef::Named { name, .. } = SecretRef::named(&text, SecretClient::Env) else { continue };
            match manager.check(&name) {
                Ok(None) => {}
                Ok(Some(worry)) => notes.warn(&path, format!("`{name}` {worry}")),
                Err(wrong) => notes.error(&path, Problem::Rule(format!("`{name}` {wrong}"))),
            }
        }
    }

    fn judge_environments(&self, notes: &mut Notes) {
        let (_, findings) = environments(&self.raw, &Own::default(), &self.surroundings());
        for (path, problem) in findings.errors {
            notes.error(&path, problem);
        }
        let mut judged = BTreeSet::new();
        for writer in self.writers.iter().filter(|writer| self.works(writer)) {
            let ours = |kind: &StoreKind| writer.info.store == Some(kind.field());
            // What the writer's entry says is part of how its store is opened.
            let found = self.found(writer).1;
            for (path, problem) in found.errors {
                notes.error(&path, problem);
            }
            for (path, _, text) in found.unopenable.into_iter().filter(|(_, kind, _)| ours(kind)) {
                if judged.insert(path.clone()) {
                    notes.error(&path, Problem::Rule(format!("{text}, and `{}` writes there", writer.name)));
                }
            }
        }
        for (path, _, text) in findings.unopenable {
            if !judged.contains(&path) {
                notes.warn(&path, text);
            }
        }
        match (metadata::provider(&self.raw), self.asks()) {
            (Some(provider), None) => {
                let text = format!(
                    "{} is not asked: `environments` of this file are used; take them out, and it is",
                    provider.word()
                );
                notes.warn("metadata_provider", text);
            }
            (_, Some(_)) => {
                for writer in self.writers.iter().filter(|writer| self.works(writer)) {
                    if let Err((path, problem)) = self.metadata(writer) {
                        notes.error(&path, problem);
                    }
                }
                if !self.told {
                    return;
                }
            }
            (None, None) => {}
        }
        for writer in self.writers.iter().filter(|writer| self.works(writer)) {
            if let Some(problem) = self.missing_store(writer) {
                notes.error("environments", problem);
            }
            let found = self.environments(writer);
            let kind = writer.info.store.and_then(StoreKind::of_field);
            let has_store = |id: &&String| kind.is_none_or(|kind| !found.entries[*id].stores(kind).is_empty());
            let online = kind == Some(StoreKind::Online);
            for (id, _) in found.entries.iter().filter(|(_, entry)| online && caches_nothing(entry)) {
                let text = format!(
                    "lists features and no staleness, so `{}` stores nothing for it; add `default_max_staleness` (such \
                     as \"7d\" or \"infinity\"), or `max_staleness` or `store_online: true` to a feature",
                    writer.name
                );
                notes.warn(&path::key("environments", id), text);
            }
            for (id, entry) in found.entries.iter().filter(|_| online) {
                let scheme = entry.online_store.as_ref().and_then(|store| store.uri.scheme());
                let store = scheme.as_deref().and_then(|scheme| self.registry.store(StoreKind::Online, scheme));
                if let (Some(scheme), Some(true)) = (&scheme, store.map(StoreDescription::keeps_nothing)) {
                    let at = format!("{}.online_store.uri", path::key("environments", id));
                    let text = format!(
                        "`{scheme}:` keeps nothing: `{}` acknowledges its messages and their values are gone",
                        writer.name
                    );
                    notes.warn(&at, text);
                }
            }
            for id in found.entries.keys().filter(|id| !has_store(id)) {
                let at = path::key("environments", id);
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
        if self.asks().is_some() && !self.told {
            return None;
        }
        if self.own(writer).usage_store.is_some() {
            return None;
        }
        let has = |environment: &Value| environment.get(field).is_some();
        let environments = self.file.get("environments").and_then(Value::as_object);
        if environments.is_some_and(|environments| environments.values().any(has)) {
            return None;
        }
        let id = environments.and_then(|environments| environments.keys().next()).map_or("prod", String::as_str);
        let or = if field == StoreKind::Usage.field() { ", or `usage_store_uri` to the writer's entry" } else { "" };
        let add = format!("add it under `environments.{id}`, with its `uri`{or}");
        Some(Problem::Missing {
            writer: writer.name.clone(),
            writer_type: writer.info.name,
            field: field.to_owned(),
            add,
        })
    }

    /// Who describes the environments, where that is not the file.
    pub(super) fn asks(&self) -> Option<MetadataProvider> {
        metadata::provider(&self.raw).filter(|_| self.told || self.raw.environments.is_none())
    }

    /// How a writer asks for them; else what is wrong with that.
    pub(super) fn metadata(&self, writer: &Outline) -> Result<Option<MetadataSettings>, (String, Problem)> {
        if self.asks().is_none() {
            return Ok(None);
        }
        metadata::settings(writer, &self.entry(writer), &self.raw, &self.folder)
    }

    fn surroundings(&self) -> Surroundings<'_> {
        let secrets = bus::secret_client(&self.raw, &self.folder);
        Surroundings { folder: &self.folder, secrets, registry: &self.registry, file: &self.file }
    }

    /// The tuning of a writer.
    pub(super) fn tuned(&self, writer: &Outline) -> Tuned {
        let nothing = Value::Object(Map::new());
        let entry = writer.number.and_then(|number| self.file.get("writers")?.get(number)).unwrap_or(&nothing);
        tune(writer.info.writer_type(), &self.file, entry, &self.entry(writer), self.machine)
    }

    fn entry(&self, writer: &Outline) -> RawWriter {
        writer.number.and_then(|number| self.raw.writers.get(number)).cloned().unwrap_or_default()
    }

    /// The environments as a writer sees them.
    pub(super) fn environments(&self, writer: &Outline) -> Environments {
        self.found(writer).0
    }

    fn found(&self, writer: &Outline) -> (Environments, EnvironmentFindings) {
        environments(&self.raw, &self.own(writer), &self.surroundings())
    }

    /// What a writer's entry says of stores.
    fn own(&self, writer: &Outline) -> Own {
        let entry = self.entry(writer);
        let of_usage = writer.info.store == Some(StoreKind::Usage.field());
        let usage_store = get(entry.usage_store_uri.as_ref()).filter(|_| of_usage);
        Own {
            cache_prefix: get(entry.storage_cache_prefix.as_ref()),
            usage_store: usage_store.map(|uri| (format!("{}.usage_store_uri", writer.at), uri)),
        }
    }

    /// The settings of a writer; fails only for one that the file does not list.
    pub(super) fn settings(&self, writer: &Outline, bus: &BusSettings) -> Result<WriterSettings, ConfigErrors> {
        let mut errors = Vec::new();
        if writer.subscription.is_none() {
            errors.push(missing_subscription(writer, self.backend));
        }
        errors.extend(self.ways(writer));
        errors.extend(self.missing_store(writer).map(|problem| ("environments".to_owned(), problem)));
        let Tuned { tuning, listen, skip_offline_writes_for_online_cached_features, errors: rules, .. } =
            self.tuned(writer);
        errors.extend(rules.into_iter().map(|(path, problem)| (path.to_owned(), problem)));
        errors.extend(self.contradictions(writer));
        let metadata = self.metadata(writer).unwrap_or_else(|error| {
            errors.push(error);
            None
        });
        let (Some(subscription), true) = (writer.subscription.clone(), errors.is_empty()) else {
            let error = |(path, problem)| ConfigError { path, origin: None, problem };
            return Err(ConfigErrors(errors.into_iter().map(error).collect()));
        };
        let entry = self.entry(writer);
        Ok(WriterSettings {
            name: writer.name.clone(),
            writer_type: writer.info.writer_type(),
            bus: bus.clone(),
            subscription,
            publishes: writer
                .publishes
                .clone()
                .zip(writer.publishes_by)
                .map(|(topic, named_by)| Publishes { topic, named_by }),
            group: writer.group.clone(),
            dlq_topic: writers::common(&self.file, "kafka_dlq_topic"),
            environments: Arc::new(self.environments(writer)),
            tuning,
            of_type: modes::of_type(&entry, &self.raw, &self.folder),
            query_table_write_drop_ratio: get(entry.query_table_write_drop_ratio.as_ref()).map_or(0.0, |ratio| ratio.0),
            skip_offline_writes_for_online_cached_features,
            listen,
            metadata,
        })
    }
}
