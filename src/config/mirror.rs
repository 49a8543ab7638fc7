//! How a `QUERY_MIRROR_CONSUMER` asks queries again: the server of the file, and the settings of its entry.

use std::time::Duration;

use super::secret::SecretRef;

/// Settings of a mirror.
#[derive(Clone, Debug)]
pub struct MirrorSettings {
    /// The server, as a URL or a host name (`api_server_host`); without one there is nothing to ask.
    pub server: Option<String>,
    /// Whether a host name without a scheme is asked without TLS (`insecure`).
    pub insecure: bool,
    /// Share of queries that are asked, by the hash of their id.
    pub sample_ratio: f64,
    /// Queries a second at the most; `None` is no bound.
    pub max_per_second: Option<f64>,
    /// How long one query may take.
    pub deadline: Duration,
    /// Queries that are older are not asked.
    pub max_age: Duration,
    /// Numbers so far apart count as equal.
    pub absolute_tolerance: f64,
    /// Numbers so far apart, in parts of the larger of both, count as equal.
    pub relative_tolerance: f64,
    /// In which form queries are asked.
    pub body: MirrorBody,
    /// The branch that is asked, whatever branch a query was asked on.
    pub branch: Option<String>,
    /// Who asks: id and secret; `None` asks without a token.
    pub client: Option<(String, SecretRef)>,
}

/// In which form queries are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MirrorBody {
    /// As tables where every input is a list of as many values, as JSON where not.
    #[default]
    Auto,
    /// As JSON.
    Json,
    /// As tables.
    Feather,
}

/// Settings where the file says nothing.
impl Default for MirrorSettings {
    fn default() -> Self {
        Self {
            server: None,
            insecure: false,
            sample_ratio: 1.0,
            max_per_second: None,
            // A query that takes longer is of no use to its caller either, as a rule.
            deadline: Duration::from_secs(5),
            // Features move on: an older query has another answer by right.
            max_age: Duration::from_mins(5),
            absolute_tolerance: 0.0,
            // What the order of additions makes of doubles.
            relative_tolerance: 1e-9,
            body: MirrorBody::Auto,
            branch: None,
            client: None,
        }
    }
}
