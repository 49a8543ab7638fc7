//! `QUERY_MIRROR_CONSUMER`: logged queries → the same queries asked again → outcomes on a topic.

mod decode;
mod progress;
mod sink;
#[cfg(test)]
mod tests;
mod trouble;

use std::sync::Arc;

pub use decode::MirrorDecoder;
pub use sink::MirrorSink;

use serde_json::{Value as Json, json};

use super::catalog::Catalog;
use super::destinations::{PlannedDestination, To};
use super::open::Gate;
use super::outlet::{Outlet, Publishes};
use super::plan::{Plan, Reads, policy};
use super::plan_error::PlanError;
use super::preview::{Shown, ShownRow};
use super::time::{Clock, micros, system_clock};
use super::{Facts, Stands, Writer, WriterType};
use crate::config::settings::{Environment, MirrorBody, MirrorSettings, WriterSettings};
use crate::mirror::client::{Body, Client, Options, server};
use crate::mirror::compare::Tolerance;
use crate::mirror::{Credentials, Limits, Mirrored};
use crate::sink::Sink;
use crate::store::{StoreError, StoreLimits};
use decode::Asked;

/// Of the memory limit so much, one in eight bytes, is for outcomes that are not published yet,
const OF_MEMORY_KEPT: usize = 8;

/// and so much, one in four, for the bodies of answers that are being read.
const OF_MEMORY_READ: usize = 4;

/// The descriptor.
pub struct QueryMirrorConsumer;

static FACTS: Facts = Facts {
    writer_type: WriterType::QUERY_MIRROR,
    guarantee: "a query is asked at most once while the writer runs, and not at all where the server has no room for \
                it: what is shed is counted; outcomes are published at least once",
    known_by: "the operation of its query",
    stands: Stands::Both,
    judges_times: false,
    sheds: true,
};

impl Writer for QueryMirrorConsumer {
    type Row = Mirrored;

    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn plan(&self, settings: &WriterSettings) -> Result<Plan<Mirrored>, PlanError> {
        let client = client(settings)?;
        let name = format!("API server {}", client.url());
        let (mirror, group) = (settings.of_type.mirror.clone(), settings.group.clone());
        let limits = Limits::new(settings.tuning.concurrency, mirror.max_per_second);
        let (client, most_kept) = (Arc::new(client), settings.tuning.memory_limit / OF_MEMORY_KEPT);
        let open = move |outlet: &Outlet| {
            let (client, outlet) = (Arc::clone(&client), outlet.clone());
            let sink = MirrorSink::new(client, limits, tolerance(&mirror), outlet, &group, most_kept);
            Ok::<_, StoreError>(Arc::new(sink) as Arc<dyn Sink<Mirrored>>)
        };
        Ok(Plan {
            reads: Reads::new(settings),
            dead_letter_topic: settings.dlq_topic.clone(),
            publishes: Publishes::of(settings),
            decoder: Arc::new(decoder(settings, system_clock())),
            destinations: vec![PlannedDestination { name, to: To::Topic(Box::new(open)) }],
            store_limits: StoreLimits::new(&settings.tuning, 1),
            parking: None,
            policy: policy(settings),
        })
    }
}

/// The decoder for these settings, which takes the time from `clock`.
pub fn decoder(settings: &WriterSettings, clock: Clock) -> MirrorDecoder {
    let mut environments = (*settings.environments).clone();
    // Nothing is stored, so there is nothing that an environment would have to be configured for.
    if environments.entries.is_empty() {
        environments.entries.insert("*".to_owned(), Environment::default());
    }
    let mirror = &settings.of_type.mirror;
    MirrorDecoder {
        gate: Gate::new(settings),
        catalog: Catalog::new(&environments, |_, _| Asked),
        sample_ratio: mirror.sample_ratio,
        max_age: micros(mirror.max_age),
        clock,
    }
}

fn client(settings: &WriterSettings) -> Result<Client, PlanError> {
    let mirror = &settings.of_type.mirror;
    let at = |error: String| PlanError::Settings(format!("`api_server_host` {error}"));
    let host = mirror.server.as_deref().ok_or_else(|| at("is missing".to_owned()))?;
    let options = Options {
        url: server(host, mirror.insecure).map_err(at)?,
        credentials: mirror.client.clone().map(|(client_id, client_secret)| Credentials { client_id, client_secret }),
        branch: mirror.branch.clone(),
        deadline: mirror.deadline,
        body: match mirror.body {
            MirrorBody::Auto => Body::Auto,
            MirrorBody::Json => Body::Json,
            MirrorBody::Feather => Body::Feather,
        },
        most_bytes: settings.tuning.max_message_bytes,
        at_once: settings.tuning.concurrency,
        bytes_at_once: settings.tuning.memory_limit / OF_MEMORY_READ,
    };
    Client::new(options).map_err(|error| PlanError::Settings(error.to_string()))
}

fn tolerance(mirror: &MirrorSettings) -> Tolerance {
    Tolerance { absolute: mirror.absolute_tolerance, relative: mirror.relative_tolerance }
}

impl Shown for Mirrored {
    fn shown(&self) -> Vec<ShownRow> {
        let request = self.query.again(None).to_text();
        let fields = [
            ("environment", json!(&*self.environment)),
            ("operation_id", json!(self.logged.operation_id)),
            ("query_name", json!(self.query.name())),
            // As JSON where nothing of it is lost by that.
            ("request", serde_json::from_str(&request).unwrap_or(Json::String(request))),
        ];
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        vec![ShownRow::Other { what: "request", fields }]
    }
}
