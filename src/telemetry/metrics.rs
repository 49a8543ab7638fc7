//! Every metric of a writer, in one table: what is described, documented and checked comes from it.

use std::fmt::Write;

use metrics::Unit;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusRecorder};

use super::build;

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution, counted in buckets with these upper bounds.
    Histogram(&'static [f64]),
}

impl Kind {
    /// Its name in Prometheus' text format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name as Prometheus reads it.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// What is counted.
    pub unit: Unit,
    /// Labels of its own, beside `writer` and `type` which all have.
    pub labels: &'static [&'static str],
    /// One sentence, without a full stop.
    pub help: &'static str,
}

const ROWS: &[f64] =
    &[1., 10., 100., 250., 500., 1_000., 2_500., 5_000., 10_000., 25_000., 50_000., 100_000., 250_000., 500_000.];
const BYTES: &[f64] =
    &[1_024., 16_384., 65_536., 262_144., 1_048_576., 4_194_304., 16_777_216., 33_554_432., 67_108_864., 268_435_456.];
const WRITE_SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1., 2.5, 5., 10., 30., 60.];
/// From a write that keeps up to a backlog of a day.
const FRESHNESS_SECONDS: &[f64] =
    &[0.01, 0.05, 0.1, 0.25, 0.5, 1., 2.5, 5., 10., 30., 60., 300., 900., 3_600., 21_600., 86_400.];

/// Every metric, in the order of the documentation.
pub static METRICS: &[Metric] = &[
    counter("chalk_writer_messages_received_total", &[], "Messages read from the bus"),
    counter(
        "chalk_writer_messages_acknowledged_total",
        &[],
        "Messages dealt with for good: their rows are stored, stale, skipped on purpose, or buried and confirmed; not those of partitions that went away meanwhile",
    ),
    counter(
        "chalk_writer_values_stored_total",
        &[],
        "Values that a store holds because of this writer: features online, rows offline; rows that went into messages where it publishes",
    ),
    counter(
        "chalk_writer_values_stale_total",
        &[],
        "Values that were not stored because the store had them already, or newer ones, or because they had expired",
    ),
    counter(
        "chalk_writer_values_skipped_total",
        &["reason"],
        "Values left out on purpose, by reason; `nothing_in_it` counts messages that gave no rows at all, as a misspelt field makes them",
    ),
    counter(
        "chalk_writer_messages_buried_total",
        &["class"],
        "Messages moved to the dead letter topic, by error class, counted once the bus has confirmed them",
    ),
    counter(
        "chalk_writer_messages_parked_total",
        &[],
        "Messages moved to the parking topic because their store had been away for `park_after`, counted once the bus has confirmed them",
    ),
    counter("chalk_writer_batches_written_total", &[], "Batches written and acknowledged"),
    histogram("chalk_writer_batch_rows", Unit::Count, ROWS, &[], "Rows in a batch"),
    histogram("chalk_writer_batch_bytes", Unit::Bytes, BYTES, &[], "Decoded bytes in a batch"),
    histogram(
        "chalk_writer_store_write_seconds",
        Unit::Seconds,
        WRITE_SECONDS,
        &["destination"],
        "Time that one write call to a store took, or one transaction of what is published; failed ones included",
    ),
    counter(
        "chalk_writer_store_errors_total",
        &["destination", "kind"],
        "Write calls that a store, or the topic that is published to, did not take, by kind: transient, throttled, denied, poisoned, again",
    ),
    histogram(
        "chalk_writer_freshness_seconds",
        Unit::Seconds,
        FRESHNESS_SECONDS,
        &["environment", "destination"],
        "From the time of the event to stored and acknowledged, of up to 64 messages of a batch and of none that was buried; environments beyond 200 are `other`",
    ),
    gauge(
        LAG_MESSAGES,
        Unit::Count,
        &["topic", "partition"],
        "Messages of an assigned partition that are not acknowledged, up to the beginning of the oldest open transaction; left out while it cannot be read",
    ),
    gauge(
        LAG_SECONDS,
        Unit::Seconds,
        &["topic", "partition"],
        "Age of the oldest message of an assigned partition that is not acknowledged; left out while nothing tells it",
    ),
    gauge(
        AWAY_SECONDS,
        Unit::Seconds,
        &["topic", "partition"],
        "For how long an assigned partition cannot be read, because no broker leads it or the one that does is not reached; 0 while it can",
    ),
    gauge(
        OPEN_MESSAGES,
        Unit::Count,
        &["topic", "partition"],
        "Messages of an assigned partition behind the beginning of its oldest open transaction, which nobody may read before that is ended; no part of the lag",
    ),
    gauge(
        OPEN_SECONDS,
        Unit::Seconds,
        &["topic", "partition"],
        "For how long the oldest open transaction of an assigned partition has been the oldest; 0 without one",
    ),
    gauge(ASSIGNED_PARTITIONS, Unit::Count, &[], "Partitions that are assigned to this process"),
    gauge(
        "chalk_writer_parked_waiting_messages",
        Unit::Count,
        &[],
        "Messages in the partitions of the parking topic that are assigned to this process, not read back yet",
    ),
    gauge(
        "chalk_writer_parked_waiting_seconds",
        Unit::Seconds,
        &[],
        "Age of the oldest parked message in these partitions that is not read back yet, since it was parked; 0 without one",
    ),
    gauge("chalk_writer_in_hand_messages", Unit::Count, &[], "Messages read and not acknowledged yet"),
    gauge(
        TROUBLE_SECONDS,
        Unit::Seconds,
        &["part"],
        "For how long a part (the bus, a destination, the dead letter topic) has not worked; 0 while it does",
    ),
    gauge("chalk_writer_ready", Unit::Count, &[], "Whether /readyz answers 200: 1 or 0"),
    counter(
        "chalk_writer_source_gap_messages_total",
        &[],
        "Messages that the bus had deleted before this group read them; the log names the partitions",
    ),
    counter("chalk_writer_source_commit_errors_total", &[], "Commits of positions that the bus did not take"),
    gauge(
        "chalk_writer_bus_token_ends_timestamp_seconds",
        Unit::Seconds,
        &[],
        "When the last token ends that the bus was shown, in seconds since 1970; 0 where people sign in otherwise",
    ),
    counter(
        "chalk_writer_bus_token_errors_total",
        &[],
        "Tokens for the bus that could not be had, or not be renewed; the log says why",
    ),
    counter(
        "chalk_writer_transaction_setbacks_total",
        &[],
        "Attempts at a transaction that did not land and were made again, as in a rebalance",
    ),
    counter(
        "chalk_writer_acknowledgements_lost_total",
        &[],
        "Acknowledgements of an exactly-once subscription of Pub/Sub that were not taken; their messages come again",
    ),
    counter("chalk_writer_handovers_total", &[], "Times that the bus took partitions away from this process"),
    counter(
        "chalk_writer_metadata_reads_total",
        &["outcome"],
        "Environments asked for of a server or database, by what came of it: new, unchanged, denied, away",
    ),
    gauge(
        "chalk_writer_metadata_answered_timestamp_seconds",
        Unit::Seconds,
        &[],
        "When the server or database that describes environments answered last, in seconds since 1970; 0 where the file describes them",
    ),
    gauge(
        "chalk_writer_metadata_refused",
        Unit::Count,
        &[],
        "1 while environments have changed into what cannot be used, such as a secret that is not there, and what was described before is used on; else 0",
    ),
    counter(
        "chalk_writer_secret_reads_total",
        &["client", "outcome"],
        "Secrets asked for of a secret manager, by what came of it: read, denied, away, impossible",
    ),
    counter(
        "chalk_writer_bus_time_rows_total",
        &[],
        "Rows without any observed time of their own, stored under the bus's timestamp",
    ),
    counter("chalk_writer_lake_written_files_total", &[], "Parquet files published in the lake"),
    counter("chalk_writer_lake_written_bytes_total", &[], "Size of the parquet files published in the lake, in bytes"),
    histogram(
        "chalk_writer_lake_encode_seconds",
        Unit::Seconds,
        WRITE_SECONDS,
        &[],
        "Time that making one parquet file took, before it was written",
    ),
    counter("chalk_writer_lake_schema_versions_total", &[], "New versions of a lake table's schema"),
    counter(
        "chalk_writer_lake_leftovers_removed_total",
        &[],
        "Unfinished files of killed writers that were removed from the lake",
    ),
    counter(
        "chalk_writer_postgres_table_changes_total",
        &[],
        "Changes of tables in Postgres: made, columns added or widened, keys added",
    ),
    counter(
        "chalk_writer_mirror_queries_total",
        &["outcome"],
        "Queries that were asked again and answered, by what came of it: agreed, differing, failed",
    ),
    counter(
        "chalk_writer_mirror_shed_total",
        &["reason"],
        "Queries that were not asked again, or not answered, so that the server is not hurt: rate, backing_off, no_slot, throttled, timed_out, unreachable, no_token",
    ),
    histogram(
        "chalk_writer_mirror_seconds",
        Unit::Seconds,
        WRITE_SECONDS,
        &["side"],
        "What queries took that were asked again: recorded, as it was logged, and mirrored",
    ),
    gauge(
        "chalk_writer_mirror_concurrency",
        Unit::Count,
        &[],
        "Queries that a mirror may have under way at once; below 1, for what share of time one may be",
    ),
    gauge(
        "chalk_writer_build_info",
        Unit::Count,
        &["version", "revision", "group", "subscription"],
        "Always 1; the labels say which version runs, built of which revision of its sources, and in which consumer group it reads which subscription (on Kafka and LOCAL a topic)",
    ),
    counter("process_cpu_seconds_total", &[], "User and system time of this process, in seconds"),
    gauge("process_resident_memory_bytes", Unit::Bytes, &[], "Memory of this process that is in RAM"),
    gauge("process_open_fds", Unit::Count, &[], "Open file descriptors of this process"),
    gauge("process_max_fds", Unit::Count, &[], "File descriptors that this process may open"),
    gauge("process_start_time_seconds", Unit::Seconds, &[], "When this process started, in seconds since 1970"),
];

/// Messages behind, per partition.
pub const LAG_MESSAGES: &str = "chalk_writer_lag_messages";
/// Seconds for which a partition cannot be read.
pub const AWAY_SECONDS: &str = "chalk_writer_partition_away_seconds";
/// Messages behind the beginning of an open transaction, per partition.
pub const OPEN_MESSAGES: &str = "chalk_writer_open_transaction_messages";
/// Seconds for which it is open.
pub const OPEN_SECONDS: &str = "chalk_writer_open_transaction_seconds";
/// Partitions of this process.
pub const ASSIGNED_PARTITIONS: &str = "chalk_writer_assigned_partitions";
/// Seconds in trouble, per part.
pub const TROUBLE_SECONDS: &str = "chalk_writer_trouble_seconds";
/// Seconds behind, per partition.
pub const LAG_SECONDS: &str = "chalk_writer_lag_seconds";

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, unit: Unit::Count, labels, help }
}

const fn gauge(name: &'static str, unit: Unit, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit, labels, help }
}

const fn histogram(
    name: &'static str,
    unit: Unit,
    buckets: &'static [f64],
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Histogram(buckets), unit, labels, help }
}

/// The metric of a name.
pub fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

/// A recorder that knows the buckets of every histogram and puts these labels on every metric.
pub fn recorder(labels: &[(&'static str, String)]) -> Result<PrometheusRecorder, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for (name, value) in labels {
        builder = builder.add_global_label(*name, value);
    }
    for metric in METRICS {
        if let Kind::Histogram(buckets) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)?;
        }
    }
    Ok(builder.build_recorder())
}

/// Describes every metric to the recorder in place, and shows those without labels from the start,
/// so that a rate can be taken from the first scrape on.
/// `group` and `subscription` say what this process reads: two types of writers that share a group each get a part of the
/// messages, and nothing else would show it.
pub fn describe(group: &str, subscription: &str) {
    for metric in METRICS.iter().filter(|metric| !read_at_scrape(metric)) {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.unit, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.unit, metric.help),
            Kind::Histogram(_) => metrics::describe_histogram!(metric.name, metric.unit, metric.help),
        }
        if metric.labels.is_empty() {
            match metric.kind {
                Kind::Counter => metrics::counter!(metric.name).increment(0),
                Kind::Gauge => metrics::gauge!(metric.name).set(0.),
                Kind::Histogram(_) => drop(metrics::histogram!(metric.name)),
            }
        }
    }
    let labels = [
        ("version", build::VERSION.to_owned()),
        ("revision", build::REVISION.to_owned()),
        ("group", group.to_owned()),
        ("subscription", subscription.to_owned()),
    ];
    metrics::gauge!("chalk_writer_build_info", &labels).set(1.);
}

/// Whether a metric is not recorded but looked up when somebody asks: no partition that has gone to
/// another process lives on as a gauge that nobody sets.
fn read_at_scrape(metric: &Metric) -> bool {
    metric.name.starts_with("process_")
        || [LAG_MESSAGES, LAG_SECONDS, AWAY_SECONDS, OPEN_MESSAGES, OPEN_SECONDS, ASSIGNED_PARTITIONS, TROUBLE_SECONDS]
            .contains(&metric.name)
}

/// The table as the documentation shows it, in Markdown.
pub fn markdown() -> String {
    let mut page = String::from("| metric | kind | labels | meaning |\n| --- | --- | --- | --- |\n");
    for metric in METRICS {
        let labels = metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(page, "| `{}` | {} | {labels} | {} |", metric.name, metric.kind.as_str(), metric.help);
    }
    page
}
