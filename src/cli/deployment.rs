//! The configuration as commands use it: one writer of it, its bus, its online stores.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{ArgGroup, Args};

use crate::bus::{self, Bus};
use crate::config::settings::{BusSettings, StoreSettings, Tuning, WriterSettings};
use crate::config::{self, ConfigErrors, Loaded, Overrides};
use crate::metadata;
use crate::store::online::OnlineStore;
use crate::store::{self, StoreError, StoreLimits, StoreOptions};
use crate::writer::{self, TypeInfo, WriterType};

use super::exit::{Exit, Failure, OrExit};

/// Which writer of which file. All of it is optional to clap alone: a command in its place excuses it.
#[derive(Args, Clone, Debug)]
#[command(group(ArgGroup::new("which").args(["writer_type", "writer"]).required(true).multiple(false)))]
pub(super) struct Selection {
    /// The writer of this type (`ONLINE_WRITER`; `types` lists them)
    #[arg(long = "type", visible_alias = "bus-subscriber-type", value_name = "TYPE")]
    writer_type: Option<String>,
    /// The writer of this name
    #[arg(long, value_name = "NAME")]
    writer: Option<String>,
    /// Configuration file
    #[arg(long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
}

impl Selection {
    /// The writer of a type.
    pub(super) fn of(writer_type: WriterType, config: &Path) -> Self {
        Self { writer_type: Some(writer_type.as_str().to_owned()), writer: None, config: Some(config.to_owned()) }
    }

    /// Reads the file and picks the writer.
    pub(super) fn load(&self) -> Result<WriterSettings, Failure> {
        let which = self.which()?;
        let config = self.file()?;
        let overrides = Overrides::from_process();
        Deployment::load_with(config, &overrides)?.asked(config, &overrides)?.writer(&which)
    }

    /// The file as it is now, for a writer that goes by it, and by what is above it, to its end.
    pub(super) fn read(&self, overrides: Overrides) -> Result<AtStart, Failure> {
        let (which, path) = (self.which()?, self.file()?.to_owned());
        let text = config::read(&path).map_err(|errors| failure(&path, &errors))?;
        Ok(AtStart { which, path, text, overrides })
    }

    fn file(&self) -> Result<&Path, Failure> {
        self.config.as_deref().ok_or_else(|| Failure::new(Exit::Usage, "`--config FILE` is missing"))
    }

    /// The selection; a type that is unknown, or not in this version, is told before any file is read.
    fn which(&self) -> Result<config::Selection, Failure> {
        match (&self.writer, &self.writer_type) {
            (Some(name), _) => Ok(config::Selection::Writer(name.clone())),
            (None, Some(given)) => by_type(given),
            (None, None) => Err(Failure::new(Exit::Usage, "`--type TYPE` or `--writer NAME` is missing")),
        }
    }
}

/// The writer of a file as it was read at the start, and what stood above it then. A file that is changed later takes
/// effect with a restart, all of it at once, and not with whatever is described meanwhile.
pub(super) struct AtStart {
    which: config::Selection,
    path: PathBuf,
    text: config::Text,
    overrides: Overrides,
}

impl AtStart {
    /// The writer without asking who else describes environments. Warns of what should be known of the file.
    pub(super) fn as_it_stands(&self) -> Result<WriterSettings, Failure> {
        let deployment = self.deployment(&self.overrides)?;
        deployment.warn(&self.path);
        deployment.writer(&self.which)
    }

    /// The same with environments that somebody else described.
    pub(super) fn described(&self, environments: serde_json::Value) -> Result<WriterSettings, Failure> {
        let overrides = self.overrides.clone().flag("metadata", "environments", environments);
        self.deployment(&overrides)?.writer(&self.which)
    }

    fn deployment(&self, overrides: &Overrides) -> Result<Deployment, Failure> {
        let loaded = self.text.load(overrides, &writer::registry());
        Ok(Deployment { loaded: loaded.map_err(|errors| failure(&self.path, &errors))? })
    }
}

/// The writer of a type, under any of its names.
pub(super) fn by_type(given: &str) -> Result<config::Selection, Failure> {
    let writer_type: WriterType = given.parse().or_exit(Exit::Usage)?;
    let registry = writer::registry();
    if !registry.runs(writer_type) {
        return Err(Failure::new(Exit::Usage, registry.refusal(writer_type)));
    }
    Ok(config::Selection::Type(given.to_owned()))
}

/// A configuration in which nothing is wrong.
pub(super) struct Deployment {
    loaded: Loaded,
}

impl Deployment {
    /// Reads a file, and the environment variables above it.
    pub(super) fn load(config: &Path) -> Result<Self, Failure> {
        let overrides = Overrides::from_process();
        Self::load_with(config, &overrides)?.asked(config, &overrides)
    }

    /// The same without asking who else describes environments.
    pub(super) fn load_as_it_stands(config: &Path) -> Result<Self, Failure> {
        Self::load_quietly(config, &Overrides::from_process())
    }

    /// With the environments as they are described now, where that is not in the file. Where nobody tells, there are
    /// none, and whoever needs one says so.
    fn asked(self, config: &Path, overrides: &Overrides) -> Result<Self, Failure> {
        let Some(settings) = self.loaded.metadata() else { return Ok(self) };
        let asked =
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(metadata::fetch(&settings)));
        match asked {
            Ok(found) => {
                let overrides = overrides.clone().flag("metadata", "environments", found.environments);
                Self::load_quietly(config, &overrides)
            }
            Err(error) => {
                tracing::warn!("{}: no environments: {error}", config.display());
                Ok(self)
            }
        }
    }

    /// `environments`, under the names of the schema.
    pub(super) fn environments(&self) -> &serde_json::Value {
        self.loaded.environments()
    }

    /// URIs in plain text that have a password in them, by path.
    pub(super) fn passwords(&self) -> Vec<String> {
        self.loaded.passwords()
    }

    fn load_with(config: &Path, overrides: &Overrides) -> Result<Self, Failure> {
        let deployment = Self::load_quietly(config, overrides)?;
        deployment.warn(config);
        Ok(deployment)
    }

    /// Tells what should be known of the file.
    fn warn(&self, config: &Path) {
        for warning in self.loaded.warnings() {
            tracing::warn!("{}: {warning}", config.display());
        }
    }

    fn load_quietly(config: &Path, overrides: &Overrides) -> Result<Self, Failure> {
        let loaded = config::load(config, overrides, &writer::registry()).map_err(|errors| failure(config, &errors))?;
        Ok(Self { loaded })
    }

    /// The settings of one writer.
    pub(super) fn writer(&self, which: &config::Selection) -> Result<WriterSettings, Failure> {
        self.loaded
            .writer(which)
            .map_err(|errors| Failure::new(if errors.is_usage() { Exit::Usage } else { Exit::Configuration }, errors))
    }

    /// Every writer of this version that the file has; one of each type where it lists none.
    pub(super) fn writers(&self) -> Vec<WriterSettings> {
        let listed = self.loaded.writers().map(|(name, _)| config::Selection::Writer(name.to_owned()));
        let mut which: Vec<_> = listed.collect();
        if which.is_empty() {
            let types = writer::WRITERS.iter().map(|writer| writer.facts().writer_type.as_str().to_owned());
            which = types.map(config::Selection::Type).collect();
        }
        // What is missing for one of them is no concern of who asks for another.
        which.iter().filter_map(|which| self.loaded.writer(which).ok()).collect()
    }

    /// Every writer of this version that the file lists; what is missing for one of them is an error.
    pub(super) fn listed(&self) -> Result<Vec<WriterSettings>, Failure> {
        let runs = |info: &'static TypeInfo| writer::find(info.writer_type()).is_some();
        let names = self.loaded.writers().filter(|(_, info)| runs(info)).map(|(name, _)| name.to_owned());
        names.map(|name| self.writer(&config::Selection::Writer(name))).collect()
    }

    /// How to reach the bus.
    pub(super) fn bus_settings(&self) -> &BusSettings {
        self.loaded.bus()
    }

    /// The bus.
    pub(super) fn bus(&self) -> Result<Arc<dyn Bus>, Failure> {
        Ok(bus::open(self.loaded.bus())?)
    }

    /// Topic of dead letters, where the file names one.
    pub(super) fn dlq_topic(&self) -> Option<String> {
        self.loaded.dlq_topic()
    }

    /// The store that an online writer writes to for an environment.
    pub(super) async fn online_store(
        &self,
        which: &config::Selection,
        environment: &str,
    ) -> Result<Arc<dyn OnlineStore>, Failure> {
        let settings = self.writer(which)?;
        let known = || settings.environments.entries.keys().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
        let missing = |what: &str| {
            let text = format!("environment `{environment}` {what}; the configuration has {}", known());
            Failure::new(Exit::Configuration, text)
        };
        let entry = settings.environments.get(environment).ok_or_else(|| missing("is unknown"))?;
        let store = entry.online_store.as_ref().ok_or_else(|| missing("has no `online_store`"))?;
        open_online_store(store, &settings.tuning).await.or_exit(Exit::Configuration)
    }
}

/// All errors of a file, one a line.
fn failure(config: &Path, errors: &ConfigErrors) -> Failure {
    if errors.is_usage() {
        return Failure::new(Exit::Usage, errors);
    }
    let text = match errors.0.as_slice() {
        [one] => format!("{}: {one}", config.display()),
        several => {
            let lines: String = several.iter().map(|error| format!("\n  {error}")).collect();
            format!("{}: {} errors{lines}", config.display(), several.len())
        }
    };
    Failure::new(Exit::Configuration, text)
}

/// Opens an online store for reading, as a writer with this tuning opens it for writing.
pub(super) async fn open_online_store(
    settings: &StoreSettings,
    tuning: &Tuning,
) -> Result<Arc<dyn OnlineStore>, StoreError> {
    store::ONLINE.open(&store_options(settings, tuning).await?)
}

/// What a store is opened with, as a writer with this tuning opens it.
pub(super) async fn store_options(settings: &StoreSettings, tuning: &Tuning) -> Result<StoreOptions, StoreError> {
    let options = StoreOptions::fetch(settings, StoreLimits::new(tuning, 1)).await;
    options.map_err(|error| StoreError(error.to_string()))
}

/// A duration as in the configuration (`250ms`, `1h30m`).
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    config::read_duration(text).ok_or_else(|| "expected a duration, as in `30s`, `5m` or `1h30m`".to_owned())
}

/// A moment: RFC 3339, or how long ago it is (`2h`).
pub(super) fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    config::read_duration(text)
        .and_then(|ago| Utc::now().checked_sub_signed(chrono::Duration::from_std(ago).ok()?))
        .ok_or_else(|| "expected a time, as in `2026-11-22T18:32:00Z`, or so long ago, as in `2h`".to_owned())
}
