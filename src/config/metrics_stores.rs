//! The metrics store of an environment, which may be several databases: one for everything, and one beside
//! it for rows and one for metrics.

use super::settings::StoreSettings;

/// Where metrics, query rows and errors of one environment may go.
#[derive(Clone, Debug, Default)]
pub struct MetricsStores {
    /// `uri`: what Chalk calls Timescale.
    pub main: Option<StoreSettings>,
    /// `clickhouse_uri`: query rows and errors instead of, or beside, the main one.
    pub clickhouse: Option<StoreSettings>,
    /// `victoria_metrics_uri`: metrics instead of, or beside, the main one.
    pub victoria_metrics: Option<StoreSettings>,
}

impl MetricsStores {
    /// Those that there are, each with its field.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &StoreSettings)> {
        [("uri", &self.main), ("clickhouse_uri", &self.clickhouse), ("victoria_metrics_uri", &self.victoria_metrics)]
            .into_iter()
            .filter_map(|(field, store)| Some((field, store.as_ref()?)))
    }
}
