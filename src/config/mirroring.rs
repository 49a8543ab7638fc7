//! Reads how a mirror asks queries again, and says what of it cannot be.

use std::path::Path;

use super::bus::secret_client;
use super::choice::MirrorBodyName;
use super::errors::Problem;
use super::mirror::{MirrorBody, MirrorSettings};
use super::raw::{RawDeployment, RawWriter, get};
use super::secret::SecretRef;
use super::writers::Outline;

/// The writers that these settings are of.
const READ_BY: &str = "QUERY_MIRROR_CONSUMER";

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
