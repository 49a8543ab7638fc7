//! A tenth writer, from its description to the file that it writes; run it with
//! `cargo run --example tenth_writer`. `docs/adding-a-writer.md` goes through it.
//!
//! `AUDIT_WRITER`: results → one line per query in a file, who asked for what and when.

use std::convert::Infallible;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use chalk_writer::bus::local::{LocalBus, Options};
use chalk_writer::bus::{Bus, BusError};
use chalk_writer::config::StoreKind;
use chalk_writer::config::secret::{SecretRef, expose};
use chalk_writer::config::settings::{
    BusSettings, Environment, Environments, LocalSettings, StoreSettings, WriterSettings,
};
use chalk_writer::decode::{Decoded, Decoder};
use chalk_writer::generate::{self, Generator};
use chalk_writer::message::{EventType, Message};
use chalk_writer::result::Wanted;
use chalk_writer::runtime::Health;
use chalk_writer::sink::{Outcome, Row, Sink, SinkError, Write};
use chalk_writer::store::{StoreError, StoreOptions};
use chalk_writer::value::time::format_timestamp;
use chalk_writer::writer::catalog::{Catalog, Prepared};
use chalk_writer::writer::destinations::{Destinations, Opener, Stores};
use chalk_writer::writer::open::{Gate, Unopened};
use chalk_writer::writer::preview::ShownRow;
use chalk_writer::writer::{AnyWriter, Facts, Plan, PlanError, Shown, Stands, Start, Writer, WriterType};
use chalk_writer::writer_type::{Pace, TypeInfo};
use tokio_util::sync::CancellationToken;

// --- 1. its description ---------------------------------------------------------------------------------

static AUDIT: TypeInfo = TypeInfo {
    name: "AUDIT_WRITER",
    aliases: &["QUERY_AUDIT_WRITER"],
    summary: "query results to a line per query in a file",
    messages: &[EventType::Result],
    reads: "result_bus_audit_subscription_id",
    reads_topic: Some("result_bus_topic_id"),
    publishes: None,
    republishes: None,
    passes_over_its_own: false,
    store: Some("offline_store"),
    pace: Pace::Bulk,
    // Lines of one batch come before those of the next.
    in_flight: 1,
    auto_memory_most: 64 << 20,
};

static FACTS: Facts = Facts {
    writer_type: WriterType::new(&AUDIT),
    guarantee: "at least once: after a crash some lines may be there twice, with the same operation_id",
    known_by: "operation_id",
    stands: Stands::Both,
    judges_times: false,
    sheds: false,
};

// --- 2. what its decoder makes and its store takes ------------------------------------------------------

/// A line of the file.
struct Line {
    /// The file, by its index in the plan.
    destination: usize,
    text: String,
}

impl Row for Line {
    /// No line overwrites another.
    type Key = Infallible;

    fn key(&self) -> Option<&Infallible> {
        None
    }

    fn destination(&self) -> usize {
        self.destination
    }

    fn rows(&self) -> usize {
        1
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.text.len()
    }
}

/// For `peek`.
impl Shown for Line {
    fn shown(&self) -> Vec<ShownRow> {
        vec![ShownRow::Other { what: "line", fields: vec![("text".to_owned(), self.text.as_str().into())] }]
    }
}

// --- 3. from a message to rows --------------------------------------------------------------------------

struct AuditDecoder {
    gate: Gate,
    catalog: Catalog<File>,
}

/// What is known of an environment: the index of its file.
struct File(Option<usize>);

impl Prepared for File {
    fn destination(&self) -> Option<usize> {
        self.0
    }
}

impl Decoder<Line> for AuditDecoder {
    fn decode(&self, message: &Message, decoded: &mut Decoded<Line>) {
        if let Err(unopened) = self.read(message, decoded) {
            self.catalog.unopened(unopened, decoded);
        }
    }
}

impl AuditDecoder {
    fn read<'a>(&self, message: &'a Message, decoded: &mut Decoded<Line>) -> Result<(), Unopened<'a>> {
        let opened = self.gate.open(message, Wanted { query: true, ..Wanted::default() })?;
        let Some((environment, destination)) = self.catalog.place_result(&opened, decoded) else { return Ok(()) };
        let query = opened.result.query.as_deref();
        let name = query.and_then(|query| query.query_name.as_deref()).unwrap_or("-");
        let time = opened.event_time().map_or_else(|| "-".to_owned(), format_timestamp);
        let text = format!("{time}\t{}\t{}\t{name}\n", environment.id, opened.operation());
        decoded.rows.push(Line { destination, text });
        Ok(())
    }
}

// --- 4. the store ---------------------------------------------------------------------------------------

struct AuditFile {
    path: PathBuf,
}

#[async_trait]
impl Sink<Line> for AuditFile {
    /// Returns once the lines are on the disk: what is written here is acknowledged on the bus.
    async fn write(&self, write: Write<'_, Line>) -> Result<Outcome, SinkError> {
        let text: String = write.rows.iter().map(|line| line.text.as_str()).collect();
        let path = self.path.clone();
        let append = move || {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            file.write_all(text.as_bytes())?;
            file.sync_data()
        };
        let written = tokio::task::spawn_blocking(append).await;
        let written = written.map_err(|error| SinkError::Bug { reason: error.to_string() })?;
        // A full disk, say: the runtime comes back with the same lines until they are in.
        written.map_err(|error| SinkError::Transient { reason: format!("{}: {error}", self.path.display()) })?;
        Ok(Outcome { stored: write.rows.len() as u64, ..Outcome::default() })
    }

    /// Asked at the start until it answers: the writer is not ready before.
    async fn probe(&self) -> Result<(), SinkError> {
        let opened = OpenOptions::new().create(true).append(true).open(&self.path);
        opened.map(drop).map_err(|error| SinkError::Transient { reason: format!("{}: {error}", self.path.display()) })
    }

    fn collapse(&self, key: &Infallible, _: &[&Line]) -> Line {
        match *key {}
    }
}

/// How an environment names its file, and what opens it.
const AUDIT_FILES: Stores<Line> = Stores {
    name: "audit file",
    kind: StoreKind::Offline,
    uri: "uri",
    open: Opener::Store(open),
    absorbs_repeats: |uri| path(uri).map(|_| false),
    has_keyless_rows: false,
};

/// Contacts nothing: a disk that is not there yet is waited for in `probe` and `write`.
fn open(options: &StoreOptions) -> Result<Arc<dyn Sink<Line>>, StoreError> {
    Ok(Arc::new(AuditFile { path: path(expose(&options.fetched))? }))
}

fn path(uri: &str) -> Result<PathBuf, StoreError> {
    let path = uri.strip_prefix("audit:").ok_or_else(|| StoreError("an audit file is `audit:PATH`".to_owned()))?;
    Ok(PathBuf::from(path))
}

// --- 5. put together ------------------------------------------------------------------------------------

struct AuditWriter;

impl Writer for AuditWriter {
    type Row = Line;

    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn plan(&self, settings: &WriterSettings) -> Result<Plan<Line>, PlanError> {
        let files = Destinations::plan(&settings.environments, &AUDIT_FILES)?;
        let catalog = Catalog::new(&settings.environments, |id, _| File(files.index(id)));
        let decoder = AuditDecoder { gate: Gate::new(settings), catalog };
        Ok(Plan::new(settings, files, decoder))
    }
}

// --- 6. run ---------------------------------------------------------------------------------------------

const RESULTS: usize = 100;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let bus = LocalBus::new(folder.path().join("bus.sqlite"), Options::default());
    publish(&bus).await.context("the embedded bus takes results")?;

    // The binary makes these from its configuration file.
    let settings = settings(folder.path());
    let plan = AnyWriter::plan(&AuditWriter, &settings)?;
    let shutdown = CancellationToken::new();
    let (bus, health) = (Arc::new(bus), Arc::<Health>::default());
    let start =
        Start { bus, health: health.clone(), drain: true, again: None, shutdown: shutdown.clone(), may_come: None };
    plan.start(start).await?.run(shutdown).await?;

    let text = std::fs::read_to_string(folder.path().join("audit.log"))?;
    for line in text.lines().take(3) {
        println!("{line}");
    }
    let state = health.state();
    println!("… {} lines of {} messages", text.lines().count(), state.acknowledged);
    anyhow::ensure!(text.lines().count() == RESULTS && state.acknowledged == RESULTS as u64, "a line a result");
    Ok(())
}

async fn publish(bus: &LocalBus) -> Result<(), BusError> {
    bus.create_topic("results", 2).await?;
    bus.create_topic("dlq", 1).await?;
    let options = generate::Options { topic: "results".to_owned(), ..generate::Options::default() };
    let results: Vec<_> = Generator::new(1, options).take(RESULTS).collect();
    bus.publisher().await?.publish(&results).await?;
    Ok(())
}

fn settings(folder: &Path) -> WriterSettings {
    let uri = SecretRef::plain(format!("audit:{}", folder.join("audit.log").display()));
    let prod = Environment { offline_store: Some(StoreSettings::of(uri)), ..Environment::default() };
    let bus = BusSettings::Local(LocalSettings { path: folder.join("bus.sqlite") });
    WriterSettings {
        environments: Arc::new(Environments { entries: [("prod".to_owned(), prod)].into() }),
        dlq_topic: Some("dlq".to_owned()),
        ..WriterSettings::new("audit", WriterType::new(&AUDIT), bus, "results")
    }
}

#[test]
fn every_result_has_its_line() -> anyhow::Result<()> {
    main()
}
