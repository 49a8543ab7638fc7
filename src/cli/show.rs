//! `show`: what a writer has written: the tables of its stores, or the last messages of its topic.

use clap::Args;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::bus::{self, BrowseFrom};
use crate::config::StoreKind;
use crate::config::settings::{StoreSettings, WriterSettings};
use crate::message::Message;
use crate::store::look::{self, Look, Rows, Table};
use crate::store::{StoreError, open_look};
use crate::writer::{self, readable_body};

use super::deployment::{Selection, store_options};
use super::exit::{Exit, Failure};
use super::output::{self, count, grouped, shortened};
use super::text;

/// Show what a writer has written: tables with their newest rows, or the last messages of its topic
#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// One table alone, with every column
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// Rows of each table, or messages of each partition; without it 3, and 10 of one table alone
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Rows that are shown of each table, and of one that was asked for.
const ROWS: u32 = 3;
const ROWS_OF_ONE: u32 = 10;
/// Columns that are shown of a table where rows stand below one another: what fits in a terminal.
const COLUMNS: usize = 6;

/// A table as it is shown.
#[derive(Debug, Serialize)]
struct ShownTable {
    table: String,
    /// `None` of a view.
    rows: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_estimate: bool,
    #[serde(skip)]
    detail: String,
    #[serde(serialize_with = "objects")]
    newest: Rows,
}

/// A store, or a topic, as it is shown.
#[derive(Debug, Serialize)]
struct Destination {
    destination: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tables: Option<Vec<ShownTable>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<ShownMessage>>,
}

#[derive(Debug, Serialize)]
struct ShownMessage {
    partition: i32,
    offset: i64,
    timestamp: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    environment: Option<String>,
    /// Of a streaming insert.
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    content_type: Option<String>,
    bytes: usize,
    /// `None` where it is in no encoding that is shown.
    body: Option<Json>,
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let settings = arguments.selection.load()?;
    let found = found(&settings, arguments.table.as_deref(), arguments.limit).await?;
    if arguments.json {
        return Ok(output::json(&found)?);
    }
    for (at, destination) in found.iter().enumerate() {
        if at > 0 {
            output::line("")?;
        }
        destination.print(arguments.table.is_some())?;
    }
    Ok(())
}

/// Prints what a writer has written, a few rows of each table.
pub(super) async fn overview(settings: &WriterSettings) -> Result<(), Failure> {
    for destination in found(settings, None, None).await? {
        output::line("")?;
        destination.print(false)?;
    }
    Ok(())
}

/// All that a writer writes to, with what is there.
async fn found(
    settings: &WriterSettings,
    table: Option<&str>,
    limit: Option<u32>,
) -> Result<Vec<Destination>, Failure> {
    let plan = writer::plan(settings)?;
    let kind = settings.writer_type.info().store.and_then(StoreKind::of_field);
    let mut found = Vec::new();
    let mut missing = None;
    for (name, store) in plan.destinations() {
        let (Some(store), Some(kind)) = (store, kind) else { continue };
        let look = opened(kind, store, settings).await.map_err(|error| failed(name, &error))?;
        match tables(&*look, table, limit).await {
            Ok(tables) => {
                found.push(Destination { destination: name.to_owned(), tables: Some(tables), messages: None });
            }
            // One of several stores may have it.
            Err(error) if table.is_some() => missing = Some(failed(name, &error)),
            Err(error) => return Err(failed(name, &error)),
        }
    }
    if let Some(publishes) = &settings.publishes
        && table.is_none()
    {
        let messages = messages(settings, &publishes.topic, limit.unwrap_or(ROWS)).await?;
        let destination = format!("topic `{}`", publishes.topic);
        found.push(Destination { destination, tables: None, messages: Some(messages) });
    }
    match (found.is_empty(), missing, table) {
        (true, Some(failure), _) => Err(failure),
        (true, None, Some(_)) => {
            let text =
                format_args!("{} publishes messages and has no tables; leave `--table` out", settings.writer_type);
            Err(Failure::new(Exit::Usage, text))
        }
        _ => Ok(found),
    }
}

fn failed(destination: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, format_args!("{destination}: {error}"))
}

async fn opened(
    kind: StoreKind,
    store: &StoreSettings,
    settings: &WriterSettings,
) -> Result<std::sync::Arc<dyn Look>, StoreError> {
    open_look(kind, &store_options(store, &settings.tuning).await?)
}

async fn tables(look: &dyn Look, wanted: Option<&str>, limit: Option<u32>) -> Result<Vec<ShownTable>, look::LookError> {
    let mut shown = Vec::new();
    let most = limit.unwrap_or(if wanted.is_some() { ROWS_OF_ONE } else { ROWS }) as usize;
    for Table { name, rows, is_estimate, detail } in look.tables().await? {
        if wanted.is_some_and(|wanted| wanted != name) {
            continue;
        }
        // A view is computed when it is asked for by name.
        let newest = if rows.is_some() || wanted.is_some() { look.rows(&name, most).await? } else { Rows::default() };
        shown.push(ShownTable { table: name, rows, is_estimate, detail, newest });
    }
    match wanted {
        // The store says which it has.
        Some(wanted) if shown.is_empty() => look.rows(wanted, 0).await.map(|_| shown),
        _ => Ok(shown),
    }
}

async fn messages(settings: &WriterSettings, topic: &str, limit: u32) -> Result<Vec<ShownMessage>, Failure> {
    let bus = bus::open(&settings.bus)?;
    let mut browse = bus.browse(topic, BrowseFrom::Last(limit.into())).await?;
    let mut shown = Vec::new();
    loop {
        let messages = browse.next().await?;
        if messages.is_empty() {
            return Ok(shown);
        }
        shown.extend(messages.iter().map(ShownMessage::of));
    }
}

impl ShownMessage {
    fn of(message: &Message) -> Self {
        let header = |name: &str| message.headers.get_str(name).map(str::to_owned);
        Self {
            partition: message.partition.number,
            offset: message.offset,
            timestamp: message.timestamp_ms.map(|millis| text::time(millis.saturating_mul(1000))),
            event_type: header("ce_type"),
            environment: header("ce_environmentid"),
            table: header("ce_table"),
            content_type: header("content-type"),
            bytes: message.body().len(),
            body: readable_body(message),
        }
    }

    fn print(&self) -> anyhow::Result<()> {
        let Self { partition, offset, timestamp, event_type, environment, table, content_type, bytes, body } = self;
        let mut heading = format!("  {partition}/{offset}");
        for part in [timestamp, event_type].into_iter().flatten() {
            heading += &format!("  {part}");
        }
        if let Some(environment) = environment {
            heading += &format!("  environment {environment}");
        }
        if let Some(table) = table {
            heading += &format!("  table {table}");
        }
        heading += &format!("  {} bytes", grouped(*bytes as u64));
        output::line(output::inline(&heading))?;
        let mut table = output::table([]);
        match body {
            Some(Json::Object(fields)) => {
                for (name, value) in fields {
                    output::row(&mut table, [name.clone(), shortened(&value.to_string(), 100)]);
                }
            }
            Some(other) => output::row(&mut table, [shortened(&other.to_string(), 100)]),
            None => {
                let kind = content_type.as_deref().unwrap_or("that is not told");
                output::row(&mut table, [format!("a body of the type {kind}, which is not shown")]);
            }
        }
        indented(&table.trim_fmt(), 4)
    }
}

impl Destination {
    fn print(&self, whole: bool) -> anyhow::Result<()> {
        let Self { destination, tables, messages } = self;
        output::line(output::inline(destination))?;
        if let Some(tables) = tables {
            if tables.is_empty() {
                output::line("  no tables yet")?;
            }
            tables.iter().try_for_each(|table| table.print(whole))?;
        }
        if let Some(messages) = messages {
            if messages.is_empty() {
                output::line("  no messages yet")?;
            }
            messages.iter().try_for_each(ShownMessage::print)?;
        }
        Ok(())
    }
}

impl ShownTable {
    fn print(&self, whole: bool) -> anyhow::Result<()> {
        let Self { table, rows, is_estimate, detail, newest } = self;
        let about = if *is_estimate { "about " } else { "" };
        let rows = rows.map_or_else(|| "a view".to_owned(), |rows| format!("{about}{}", count(rows, "row")));
        let heading = format!("  {table}: {rows} {detail}");
        output::line(output::inline(heading.trim_end()))?;
        if whole {
            for row in &newest.rows {
                let mut table = output::table(["column", "value"]);
                for (name, value) in newest.columns.iter().zip(row) {
                    output::row(&mut table, [name.clone(), shortened(value.get(), 100)]);
                }
                indented(&table.trim_fmt(), 4)?;
                output::line("")?;
            }
            return Ok(());
        }
        if newest.rows.is_empty() {
            return Ok(());
        }
        let columns = interesting(newest);
        let mut table = output::table([]);
        table.set_header(columns.iter().map(|at| output::inline(&newest.columns[*at])));
        for row in &newest.rows {
            table.add_row(columns.iter().map(|at| shortened(plain(&row[*at]), 28)));
        }
        indented(&table.trim_fmt(), 4)
    }
}

/// A table without a heading begins with an empty line.
fn indented(text: &str, by: usize) -> anyhow::Result<()> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.try_for_each(|line| output::line(format!("{:by$}{line}", "")))
}

/// A value as it is read fastest: text without its quotation marks, where there is nothing to escape in it.
fn plain(value: &RawValue) -> &str {
    let text = value.get();
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).filter(|text| !text.contains('\\')).unwrap_or(text)
}

/// Which columns tell most about rows: their key and time, then what is not the system's; none that is null in all of
/// them.
fn interesting(rows: &Rows) -> Vec<usize> {
    let said = |at: &usize| rows.rows.iter().any(|row| row.get(*at).is_some_and(|value| value.get() != "null"));
    let all = || (0..rows.columns.len()).filter(said);
    let first = ["__id__", "__ts__"].iter().filter_map(|name| all().find(|at| rows.columns[*at] == *name));
    let others = all().filter(|at| !rows.columns[*at].starts_with("__"));
    first.chain(others).take(COLUMNS).collect()
}

/// Rows as objects, whose names stand in the order of the columns.
fn objects<S: Serializer>(rows: &Rows, serializer: S) -> Result<S::Ok, S::Error> {
    struct Object<'a>(&'a [String], &'a [Box<RawValue>]);
    impl Serialize for Object<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(Some(self.1.len()))?;
            for (name, value) in self.0.iter().zip(self.1) {
                map.serialize_entry(name, value)?;
            }
            map.end()
        }
    }
    serializer.collect_seq(rows.rows.iter().map(|row| Object(&rows.columns, row)))
}
