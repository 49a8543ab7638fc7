//! `peek`: messages of a bus, and exactly what a writer would make of each. Reads outside every
//! group and writes nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::DateTime;
use clap::{ArgGroup, Args};
use serde_json::{Map, Value as Json, json};

use crate::bus::{self, BrowseFrom};
use crate::message::Message;
use crate::row::feature::Entity;
use crate::runtime::unparked;
use crate::store::online::{OnlineStore, StoredFeature};
use crate::writer::plan::ParkingTopic;
use crate::writer::preview::{Preview, PreviewRow, ShownFeature, ShownRow};
use crate::writer::{self, AnyPlan, skip};

use super::deployment::{self, Selection};
use super::dlq::position;
use super::exit::{Exit, Failure};
use super::get::Stored;
use super::{output, text};

/// Show what a writer would write for the messages of its topic
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("from").args(["last", "from_start", "group", "position"])))]
pub(super) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// The last so many messages of each partition; 10 without any of these flags
    #[arg(long, value_name = "N")]
    last: Option<u64>,
    /// From the earliest message
    #[arg(long)]
    from_start: bool,
    /// From where the writer's consumer group is
    #[arg(long)]
    group: bool,
    /// From one position of one partition
    #[arg(long, value_name = "PARTITION:OFFSET", value_parser = position)]
    position: Option<(i32, i64)>,
    /// Look into the parking topic instead, where messages wait whose store is away
    #[arg(long)]
    parked: bool,
    /// Stop after so many messages
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Show headers and body too
    #[arg(long)]
    body: bool,
    /// Print JSON, a line per message
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let settings = arguments.selection.load()?;
    let plan = writer::plan(&settings)?;
    let bus = bus::open(&settings.bus)?;
    let (topic, group) = if arguments.parked {
        let parking = ParkingTopic::of(&settings).ok_or_else(|| {
            let text = format!("`--parked`: `{}` parks nothing (`park_after` and `parking_topic`)", settings.name);
            Failure::new(Exit::Usage, text)
        })?;
        (parking.topic, ParkingTopic::group(&settings.group))
    } else {
        (bus.topic_of(&settings.subscription).await?, settings.group.clone())
    };
    let from = match (arguments.from_start, arguments.group, arguments.position) {
        (true, _, _) => BrowseFrom::Earliest,
        (_, true, _) => BrowseFrom::Group(group),
        (_, _, Some((partition, offset))) => BrowseFrom::Position(partition, offset),
        _ => BrowseFrom::Last(arguments.last.unwrap_or(10)),
    };
    let mut stores = Stores { plan: &*plan, tuning: &settings.tuning, open: HashMap::new() };
    let mut browse = bus.browse(&topic, from).await?;
    let mut shown = 0;
    loop {
        let messages = browse.next().await?;
        if messages.is_empty() {
            break;
        }
        for message in messages {
            if shown == arguments.limit {
                if !arguments.json {
                    output::line(format!("… there are more; `--limit {}`", arguments.limit))?;
                }
                return Ok(());
            }
            shown += 1;
            // A parked one is judged as what it was when it was read first, and shown where it is.
            let preview = plan.preview(unparked(&message).as_ref().unwrap_or(&message));
            let peeked = Peeked { message, preview };
            let stored = stores.beside(&peeked.preview).await;
            if arguments.json {
                output::json_line(&peeked.json(&stored, arguments.body))?;
            } else {
                peeked.print(&stored, arguments.body)?;
            }
        }
    }
    if shown == 0 && !arguments.json {
        output::line(format!("no messages there in `{topic}`"))?;
    }
    Ok(())
}

/// What is stored now, by row of a preview and feature; a row whose store did not answer is missing.
type Beside = Vec<Option<BTreeMap<String, StoredFeature>>>;

/// The stores of a plan, opened as rows for them turn up.
struct Stores<'a> {
    plan: &'a dyn AnyPlan,
    tuning: &'a crate::config::settings::Tuning,
    open: HashMap<usize, Option<Arc<dyn OnlineStore>>>,
}

impl Stores<'_> {
    async fn beside(&mut self, preview: &Preview) -> Beside {
        let mut beside = Vec::with_capacity(preview.rows.len());
        for row in &preview.rows {
            beside.push(match &row.row {
                ShownRow::Features { entity, .. } => self.read(row, entity).await,
                ShownRow::Table { .. } | ShownRow::Other { .. } => None,
            });
        }
        beside
    }

    async fn read(&mut self, row: &PreviewRow, entity: &Entity) -> Option<BTreeMap<String, StoredFeature>> {
        if !self.open.contains_key(&row.destination_index) {
            let opened = self.open(row.destination_index).await;
            self.open.insert(row.destination_index, opened);
        }
        let store = self.open.get(&row.destination_index)?.as_ref()?;
        match store.read(entity).await {
            Ok(features) => Some(features.into_iter().map(|stored| (stored.feature.clone(), stored)).collect()),
            Err(error) => {
                tracing::warn!(destination = row.destination, %error, "cannot show what is stored");
                self.open.insert(row.destination_index, None);
                None
            }
        }
    }

    async fn open(&self, index: usize) -> Option<Arc<dyn OnlineStore>> {
        let destinations = self.plan.destinations();
        let &(name, settings) = destinations.get(index)?;
        match deployment::open_online_store(settings?, self.tuning).await {
            Ok(store) => Some(store),
            Err(error) => {
                tracing::warn!(destination = name, %error, "cannot show what is stored");
                None
            }
        }
    }
}

struct Peeked {
    message: Message,
    preview: Preview,
}

impl Peeked {
    fn json(&self, beside: &Beside, with_body: bool) -> Json {
        let message = &self.message;
        let mut json = json!({
            "topic": &*message.partition.topic,
            "partition": message.partition.number,
            "offset": message.offset,
            "timestamp": message.timestamp_ms.map(|millis| text::time(millis.saturating_mul(1000))),
            "key": message.key.as_deref().map(String::from_utf8_lossy),
            "bytes": message.body().len(),
        });
        if with_body {
            let headers = message.headers.iter();
            let headers: Map<String, Json> =
                headers.map(|(name, value)| (name.to_owned(), value.map(String::from_utf8_lossy).into())).collect();
            json["headers"] = Json::Object(headers);
            json["body"] = Json::from(String::from_utf8_lossy(message.body()));
        }
        let mut preview = json!(self.preview);
        for (row, stored) in beside.iter().enumerate() {
            let Some(stored) = stored else { continue };
            for feature in preview["rows"][row]["features"].as_array_mut().into_iter().flatten() {
                let found = feature["feature"].as_str().and_then(|name| stored.get(name));
                feature["stored"] = found.map_or(Json::Null, |found| json!(Stored::at(found, text::now_micros())));
            }
        }
        if let (Json::Object(json), Json::Object(preview)) = (&mut json, preview) {
            json.extend(preview);
        }
        json
    }

    fn print(&self, beside: &Beside, with_body: bool) -> anyhow::Result<()> {
        let Self { message, preview } = self;
        let mut heading = format!("{}/{}/{}", message.partition.topic, message.partition.number, message.offset);
        if let Some(millis) = message.timestamp_ms {
            heading += &format!("  {}", text::time(millis.saturating_mul(1000)));
        }
        if let Some(kind) = message.headers.get_str("ce_type") {
            heading += &format!("  {kind}");
        }
        if let Some(environment) = &preview.environment {
            heading += &format!("  environment {environment}");
        }
        heading += &format!("  {} bytes", output::grouped(message.body().len() as u64));
        output::line(output::inline(&heading))?;
        if with_body {
            for (name, value) in message.headers.iter() {
                output::line(text::header(name, value))?;
            }
            output::line(text::body(message.body()))?;
        }
        for (row, stored) in preview.rows.iter().zip(beside) {
            print_row(row, stored.as_ref())?;
        }
        for field in &preview.unknown_fields {
            output::line(output::inline(&format!("  does not know the field `{field}`")))?;
        }
        for (reason, values) in &preview.skipped {
            if *reason == skip::NOTHING_IN_IT {
                output::line("  finds no rows in it, and nothing wrong with it")?;
                continue;
            }
            output::line(format!("  leaves out {}: {reason}", output::count(*values, "value")))?;
        }
        for refusal in &preview.refused {
            let row = refusal.row.as_ref().map_or_else(String::new, |row| format!(" (row {})", output::inline(row)));
            output::line(format!("  refuses {}: {}{row}", refusal.class, output::shortened(&refusal.message, 200)))?;
        }
        if preview.rows.is_empty() && preview.refused.is_empty() {
            output::line("  writes nothing")?;
        }
        output::line("")
    }
}

fn print_row(row: &PreviewRow, stored: Option<&BTreeMap<String, StoredFeature>>) -> anyhow::Result<()> {
    let (heading, table) = described(row, stored);
    output::line(output::inline(&heading))?;
    table.lines().try_for_each(|line| output::line(format!("   {line}")))
}

/// A row in a line, and what is in it as a table.
fn described(row: &PreviewRow, stored: Option<&BTreeMap<String, StoredFeature>>) -> (String, String) {
    let destination = &row.destination;
    match &row.row {
        ShownRow::Features { namespace, primary_key, features, .. } => {
            let mut table = output::table(["feature", "value", "observed at", "expires", "stored now"]);
            for feature in features {
                let value = if feature.evicted { "(evicts)".to_owned() } else { feature.value.to_string() };
                output::row(
                    &mut table,
                    [
                        feature.feature.clone(),
                        output::shortened(&value, 60),
                        feature.observed_at.clone(),
                        feature.expires_at.clone().unwrap_or_else(|| "never".to_owned()),
                        stored.map_or_else(|| "?".to_owned(), |stored| fate(feature, stored.get(&feature.feature))),
                    ],
                );
            }
            (format!("  {namespace}/{primary_key} to the {destination}"), table.trim_fmt())
        }
        ShownRow::Table { table, columns } => {
            (format!("  a row of {table} to the {destination}"), values("column", columns))
        }
        ShownRow::Other { what, fields } => (format!("  a {what} to the {destination}"), values("field", fields)),
    }
}

/// Names and values, under what they are names of.
fn values(of: &str, named: &[(String, Json)]) -> String {
    let mut table = output::table([of, "value"]);
    for (name, value) in named {
        output::row(&mut table, [name.clone(), output::shortened(&value.to_string(), 100)]);
    }
    table.trim_fmt()
}

/// What is stored of a feature, and whether this value would take its place.
fn fate(feature: &ShownFeature, stored: Option<&StoredFeature>) -> String {
    let Some(stored) = stored else { return "nothing".to_owned() };
    let observed_at = DateTime::parse_from_rfc3339(&feature.observed_at).map(|time| time.timestamp_micros());
    let fate = match observed_at.map(|observed_at| observed_at.cmp(&stored.observed_at)) {
        Ok(std::cmp::Ordering::Greater) => "older: is replaced",
        Ok(std::cmp::Ordering::Equal) => "of the same time",
        Ok(std::cmp::Ordering::Less) => "newer: stays",
        Err(_) => "?",
    };
    format!("{}, {fate}", Stored::at(stored, text::now_micros()).shown())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Delivery, Headers, Partition};

    /// What a writer shows that writes to no store of values: none of this version does yet.
    fn request() -> PreviewRow {
        let fields = vec![("url".to_owned(), json!("/v1/query/online")), ("sampled".to_owned(), json!(0.5))];
        let row = ShownRow::Other { what: "request", fields };
        PreviewRow { destination: "API server".to_owned(), destination_index: 0, row }
    }

    #[test]
    fn what_is_no_row_of_a_table_is_shown_with_its_fields() {
        let (heading, table) = described(&request(), None);
        assert_eq!(heading, "  a request to the API server");
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(lines.contains(&vec!["url", "\"/v1/query/online\""]), "{table}");
        assert!(lines.contains(&vec!["sampled", "0.5"]), "{table}");
    }

    #[test]
    fn and_as_json_beside_its_message() {
        let message = Message {
            delivery: Delivery(1),
            partition: Partition { topic: "queries".into(), number: 0 },
            offset: 7,
            timestamp_ms: None,
            key: None,
            headers: Headers::new(),
            payload: None,
        };
        let preview = Preview {
            environment: Some("prod".to_owned()),
            event_time: None,
            rows: vec![request()],
            skipped: BTreeMap::new(),
            refused: Vec::new(),
            unknown_fields: Vec::new(),
        };
        let shown = Peeked { message, preview }.json(&vec![None], false);
        assert_eq!((&shown["topic"], &shown["environment"]), (&json!("queries"), &json!("prod")));
        assert_eq!(
            shown["rows"],
            json!([{
                "destination": "API server",
                "what": "request",
                "fields": [["url", "/v1/query/online"], ["sampled", 0.5]],
            }])
        );
    }
}
