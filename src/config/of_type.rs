//! Settings that only some types of writers read, each with what holds where the file says nothing.

use super::mirror::MirrorSettings;

/// Settings of a writer that its type alone has.
#[derive(Clone, Debug, Default)]
pub struct TypeSettings {
    /// `OFFLINE_WRITER`: what becomes of its rows (`offline_mode`).
    pub offline_mode: OfflineMode,
    /// `METRICS_WRITER`: leaves features out of the metrics (`results_writer_skip_producing_feature_metrics`).
    pub skip_feature_metrics: bool,
    /// `METRICS_BUS_WRITER`: which stores take what.
    pub metrics: MetricsModes,
    /// `OFFLINE_STORE_BULK_INSERT_WRITER`: how files are loaded.
    pub loads: LoadSettings,
    /// `QUERY_MIRROR_CONSUMER`: how queries are asked again.
    pub mirror: MirrorSettings,
}

/// What `OFFLINE_WRITER` does with its rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OfflineMode {
    /// Writes them into the offline store.
    #[default]
    Direct,
    /// Makes the tables that they need in the offline store, and publishes the rows as parquet for
    /// `OFFLINE_STORE_STREAMING_INSERT_WRITER`.
    Republish,
}

/// How files that messages name are loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadSettings {
    /// What becomes of a load of which a file cannot be loaded (`on_error`).
    pub on_error: OnError,
    /// The folder in a bucket under which the first one of a file's path names its table, without `/` at either end
    /// (`upload_prefix`, else the path of `bq_upload_bucket`).
    pub prefix: String,
}

/// What becomes of a load of which a file cannot be loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// None of its files is loaded.
    #[default]
    Abort,
    /// Its other files are.
    SkipFile,
}

/// Which of the stores of [`MetricsStores`](super::settings::MetricsStores) take what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricsModes {
    /// Query rows: the main store, `clickhouse_uri`, or both (`chalk_queries_clickhouse_write_mode`).
    pub queries: Sides,
    /// Query and resolver errors, likewise (`chalk_errors_clickhouse_write_mode`).
    pub errors: Sides,
    /// Metrics: the main store, `victoria_metrics_uri`, or both (`metrics_emission_mode`).
    pub metrics: Sides,
    /// `chalk_queries_clickhouse_table`
    pub queries_table: Option<String>,
    /// `chalk_query_errors_clickhouse_table`
    pub query_errors_table: Option<String>,
    /// `chalk_resolver_errors_clickhouse_table`
    pub resolver_errors_table: Option<String>,
}

/// Which of two stores take rows of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sides {
    /// The main one.
    #[default]
    Main,
    /// Both; a row is written once both have it.
    Both,
    /// The one beside it.
    Other,
}

impl Sides {
    /// Whether the main store takes them.
    pub const fn main(self) -> bool {
        matches!(self, Self::Main | Self::Both)
    }

    /// Whether the store beside it takes them.
    pub const fn other(self) -> bool {
        matches!(self, Self::Other | Self::Both)
    }
}
