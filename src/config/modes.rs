//! Where the rows and messages of a writer go: the modes of its entry, the topic that it publishes to, and
//! what either asks for that the file does not have.

use std::path::Path;

use super::choice::{BusBackend, ClickHouseWriteMode, MetricsEmissionMode};
use super::errors::Problem;
use super::of_type::{LoadSettings, MetricsModes, Sides, TypeSettings};
use super::raw::{RawDeployment, RawMetricsStore, RawWriter, get};
use super::store_kind::StoreKind;
use super::writers::{COMMON, Outline};
use super::{mirroring, path};

/// The settings of its type that a writer's entry has.
pub(super) fn of_type(entry: &RawWriter, raw: &RawDeployment, folder: &Path) -> TypeSettings {
    TypeSettings {
        offline_mode: get(entry.offline_mode.as_ref()).unwrap_or_default(),
        loads: loads(entry, raw),
        mirror: mirroring::settings(entry, raw, folder),
        skip_feature_metrics: get(entry.results_writer_skip_producing_feature_metrics.as_ref()).unwrap_or(false),
        metrics: MetricsModes {
            queries: rows(get(entry.chalk_queries_clickhouse_write_mode.as_ref())),
            errors: rows(get(entry.chalk_errors_clickhouse_write_mode.as_ref())),
            metrics: match get(entry.metrics_emission_mode.as_ref()) {
                None | Some(MetricsEmissionMode::Unspecified | MetricsEmissionMode::TimescaleOnly) => Sides::Main,
                Some(MetricsEmissionMode::DualWrite) => Sides::Both,
                Some(MetricsEmissionMode::VictoriaMetricsOnly) => Sides::Other,
            },
            queries_table: get(entry.chalk_queries_clickhouse_table.as_ref()),
            query_errors_table: get(entry.chalk_query_errors_clickhouse_table.as_ref()),
            resolver_errors_table: get(entry.chalk_resolver_errors_clickhouse_table.as_ref()),
        },
    }
}

/// How files are loaded. A folder that is given with its bucket is the path in it.
fn loads(entry: &RawWriter, raw: &RawDeployment) -> LoadSettings {
    let bucket = get(raw.common_persistence_specs.bq_upload_bucket.as_ref()).map(|bucket| bucket.0);
    let prefix = get(entry.upload_prefix.as_ref()).or(bucket).unwrap_or_default();
    let path = match prefix.split_once("://") {
        Some((_, in_bucket)) => in_bucket.split_once('/').map_or("", |(_, path)| path),
        None => &prefix,
    };
    LoadSettings {
        on_error: get(entry.on_error.as_ref()).unwrap_or_default(),
        prefix: path.trim_matches('/').to_owned(),
    }
}

fn rows(mode: Option<ClickHouseWriteMode>) -> Sides {
    match mode {
        None | Some(ClickHouseWriteMode::Unspecified | ClickHouseWriteMode::TimescaleOnly) => Sides::Main,
        Some(ClickHouseWriteMode::Dual) => Sides::Both,
        Some(ClickHouseWriteMode::ClickHouseOnly) => Sides::Other,
    }
}

/// The field that names the topic of dead letters.
pub(super) const DEAD_LETTERS: &str = "kafka_dlq_topic";

/// What is wrong with the topic that a writer publishes to, by path.
pub(super) fn publishing(writer: &Outline, backend: Option<BusBackend>) -> Option<(String, Problem)> {
    let field = writer.publishes_by?;
    let problem = match &writer.publishes {
        None => Problem::Missing {
            writer: writer.name.clone(),
            writer_type: writer.info.name,
            field: field.to_owned(),
            add: format!("add it under `{COMMON}`"),
        },
        // A Pub/Sub subscription is not its topic, so that names say nothing: a start asks for the topic.
        Some(topic)
            if backend != Some(BusBackend::Pubsub)
                && writer.subscription.as_ref() == Some(topic)
                && !writer.info.passes_over_its_own =>
        {
            Problem::Rule(format!(
                "`{}` reads `{topic}` too, so it would be given what it publishes; give it another topic",
                writer.name
            ))
        }
        Some(_) => return None,
    };
    Some((format!("{COMMON}.{field}"), problem))
}

/// Stores of metrics that the modes of a writer ask for and that an environment does not have, by path.
pub(super) fn missing_stores(writer: &Outline, modes: &MetricsModes, raw: &RawDeployment) -> Vec<(String, Problem)> {
    if writer.info.store != Some(StoreKind::Metrics.field()) {
        return Vec::new();
    }
    let clickhouse: fn(&RawMetricsStore) -> bool = |store| store.clickhouse_uri.is_some();
    let victoria: fn(&RawMetricsStore) -> bool = |store| store.victoria_metrics_uri.is_some();
    let kinds = [
        ("query rows", modes.queries, "chalk_queries_clickhouse_write_mode", "clickhouse_uri", clickhouse),
        ("errors", modes.errors, "chalk_errors_clickhouse_write_mode", "clickhouse_uri", clickhouse),
        ("metrics", modes.metrics, "metrics_emission_mode", "victoria_metrics_uri", victoria),
    ];
    let mut missing = Vec::new();
    for (id, environment) in raw.environments.iter().flatten() {
        let Some(store) = &environment.metrics_store else { continue };
        let at = format!("{}.{}", path::key("environments", id), StoreKind::Metrics.field());
        for (what, _, field, uri, _) in kinds.iter().filter(|(_, sides, .., has)| sides.other() && !has(store)) {
            let text =
                format!("sends {what} to `{uri}`, which `{at}` does not have; add it there, or use TIMESCALE_ONLY");
            missing.push((format!("{}.{field}", writer.at), Problem::Rule(text)));
        }
        let main: Vec<&str> = kinds.iter().filter(|(_, sides, ..)| sides.main()).map(|(what, ..)| *what).collect();
        if store.uri.is_none() && !main.is_empty() {
            let text = format!("is missing, and `{}` writes there: {}", writer.name, main.join(", "));
            missing.push((format!("{at}.uri"), Problem::Rule(text)));
        }
    }
    missing
}
