//! How a `QUERY_MIRROR_CONSUMER` asks queries again: the server of the file, and the settings of its entry.

use std::path::Path;
use std::time::Duration;

use super::bus::secret_client;
use super::choice::MirrorBodyName;
use super::errors::Problem;
use super::raw::{RawDeployment, RawWriter, get};
use super::secret::SecretRef;
use super::writers::Outline;

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

/// The writers that these settings are of.
pub(super) const READ_BY: &str = "QUERY_MIRROR_CONSUMER";

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

/// The settings of an entry.
pub(super) fn settings(entry: &RawWriter, raw: &RawDeployment, folder: &Path) -> MirrorSettings {
    let (mirror, usual) = (&entry.mirror, MirrorSettings::default());
    let secret = |text: String| {
        if SecretRef::is_name(&text) {
            Some(SecretRef::named(&text, secret_client(raw, folder)?))
        } else {
            Some(SecretRef::plain(text))
        }
    };
    MirrorSettings {
        server: get(raw.api_server_host.as_ref()),
        insecure: get(raw.insecure.as_ref()).unwrap_or(usual.insecure),
        sample_ratio: get(mirror.sample_ratio.as_ref()).map_or(usual.sample_ratio, |ratio| ratio.0),
        max_per_second: get(mirror.max_per_second.as_ref()).map(|amount| amount.0),
        deadline: get(mirror.deadline.as_ref()).unwrap_or(usual.deadline),
        max_age: get(mirror.max_age.as_ref()).unwrap_or(usual.max_age),
        absolute_tolerance: get(mirror.absolute_tolerance.as_ref()).map_or(usual.absolute_tolerance, |amount| amount.0),
        relative_tolerance: get(mirror.relative_tolerance.as_ref()).map_or(usual.relative_tolerance, |amount| amount.0),
        body: match get(mirror.body.as_ref()) {
            None | Some(MirrorBodyName::Auto) => MirrorBody::Auto,
            Some(MirrorBodyName::Json) => MirrorBody::Json,
            Some(MirrorBodyName::Feather) => MirrorBody::Feather,
        },
        branch: get(mirror.branch.as_ref()),
        client: get(mirror.client_id.as_ref()).zip(get(mirror.client_secret.as_ref()).and_then(secret)),
    }
}

/// What is wrong with them, by path.
pub(super) fn problems(writer: &Outline, entry: &RawWriter, raw: &RawDeployment) -> Vec<(String, Problem)> {
    if writer.info.name != READ_BY {
        return Vec::new();
    }
    let mut problems = Vec::new();
    if get(raw.api_server_host.as_ref()).is_none() {
        problems.push((
            "api_server_host".to_owned(),
            Problem::Missing {
                writer: writer.name.clone(),
                writer_type: writer.info.name,
                field: "api_server_host".to_owned(),
                add: "add the host name or URL of the API server at the top level".to_owned(),
            },
        ));
    }
    let mirror = &entry.mirror;
    let at = |field: &str| format!("{}.mirror.{field}", writer.at);
    let mut rule = |field: &str, text: &str| problems.push((at(field), Problem::Rule(text.to_owned())));
    match (&mirror.client_id, &mirror.client_secret) {
        (Some(_), None) => rule("client_secret", "is missing; `client_id` is of no use without it"),
        (None, Some(_)) => rule("client_id", "is missing; `client_secret` is of no use without it"),
        _ => {}
    }
    if get(mirror.deadline.as_ref()).is_some_and(|deadline| deadline.is_zero()) {
        rule("deadline", "is 0, so that no query could be answered in time");
    }
    if get(mirror.max_per_second.as_ref()).is_some_and(|amount| amount.0 == 0.0) {
        rule("max_per_second", "is 0, so that no query would be asked; leave the writer out instead");
    }
    problems
}
