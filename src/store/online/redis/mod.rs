//! The Redis online store: one hash an entity, written by a script that compares times in the server.
//!
//! The layout is in [`layout`], the script in `write.lua`, some fifty entities a call: few and large
//! commands cost client and server least. Where a row is newer than everything stored of its entity
//! the script writes it unread. In a cluster a call is of one slot, and [`mod@write`] brings it to the owner.
//!
//! # Guarantees
//! The script is atomic and changes nothing when it is repeated, so it does no harm that a command may
//! still run whose answer was given up, nor that rows are sent again because of it. A write is
//! acknowledged when the server has it in memory, with `wait_replicas` when so many replicas have it too;
//! whether it survives beyond that is a matter of the server's persistence and replication.
//!
//! A key that holds something else than a hash of this layout refuses its own row and no other. A node of
//! a cluster that is away, or a slot that nobody has, holds up its own rows and no others.

mod answer;
mod calls;
mod examine;
mod layout;
mod link;
mod node;
mod number;
mod replicas;
mod script;
mod session;
mod topology;
mod uri;
mod write;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Mutex;

pub(in crate::store) use self::examine::examine;

use self::answer::{Answer, Kind, Trouble};
use self::calls::{Call, ENTITIES, Plan};
use self::link::Link;
use self::topology::Topology;
use self::uri::Address;
use self::write::{Writing, Written};
use super::{OnlineStore, StoredFeature, merge};
use crate::config::own::{Maybe, given};
use crate::config::secret::expose;
use crate::row::feature::{Entity, FeatureRow};
use crate::sink::{ErrorClass, Outcome, Refusal, Sink, SinkError, Write};
use crate::store::options::unread;
use crate::store::{StoreError, StoreOptions};
use crate::value::{Value, msgpack};

/// What the configuration says of it beside the URI, which may say the same and is nearer.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::store) struct Settings {
    /// Replicas of a Redis online store that must have a write before it counts; without it, none.
    wait_replicas: Maybe<u32>,
    /// Whether it is a cluster.
    #[schemars(skip)]
    clustered: Maybe<bool>,
}

/// Replicas that must have a write before it counts, by the URI or beside it.
pub(in crate::store) fn replicas(options: &StoreOptions) -> Option<u32> {
    let settings: Settings = options.own.read().ok()?;
    uri::parse(expose(&options.fetched)).ok()?.wait_replicas.or(given(settings.wait_replicas.as_ref()))
}

struct RedisStore {
    options: StoreOptions,
    settings: Settings,
    topology: Mutex<Option<Arc<Topology>>>,
}

/// Checks the URI; contacts nothing.
pub(in crate::store) fn open(options: &StoreOptions) -> Result<Arc<dyn OnlineStore>, StoreError> {
    let settings: Settings = options.own.read().map_err(|error| StoreError(format!("online store: {error}")))?;
    topology(options, &settings, uri::parse(expose(&options.fetched))?)?;
    Ok(Arc::new(RedisStore { options: options.clone(), settings, topology: Mutex::default() }))
}

/// What the URI and the other settings make together. Nothing is connected yet.
fn topology(options: &StoreOptions, settings: &Settings, address: Address) -> Result<Topology, StoreError> {
    let wrong = |what: &str| Err(StoreError(format!("online store `{address}`: {what}")));
    let clustered = address.clustered.or(given(settings.clustered.as_ref())).unwrap_or(false);
    if clustered && address.database != 0 {
        return wrong("a cluster has no numbered databases; leave the path out");
    }
    if clustered && options.cache_prefix.contains('{') {
        return wrong(
            "a `cache_prefix` with `{` would put every key of the cluster into one slot; write the prefix without it",
        );
    }
    if let (Some(uri), Some(setting)) = (address.wait_replicas, given(settings.wait_replicas.as_ref()))
        && uri != setting
    {
        return wrong("`wait_replicas` is one number in the URI and another beside it; keep one of them");
    }
    Ok(Topology::new(Link::new(address, options.cache_prefix.clone()), clustered))
}

impl RedisStore {
    /// The servers, with the URI as it is now, so a new password is found.
    async fn topology(&self) -> Result<Arc<Topology>, SinkError> {
        let mut slot = self.topology.lock().await;
        if let Some(topology) = &*slot {
            return Ok(topology.clone());
        }
        let denied = |reason: String| SinkError::Denied { reason };
        let uri = self.options.uri.fetch().await.map_err(unread)?;
        let made = uri::parse(expose(&uri)).and_then(|address| topology(&self.options, &self.settings, address));
        let made = made.map_err(|error| {
            self.options.uri.doubt();
            denied(error.to_string())
        })?;
        let made = Arc::new(made);
        *slot = Some(made.clone());
        Ok(made)
    }

    /// Gives up the servers where the URI may lead to others, or in with other credentials, by now. Nodes of a
    /// cluster come and go without that.
    async fn reconsider(&self, topology: &Arc<Topology>, trouble: &Trouble) {
        let elsewhere = match trouble.kind {
            Kind::Denied => true,
            Kind::Away | Kind::Ended | Kind::Replica => !topology.clustered || topology.is_lost(),
            Kind::Passing | Kind::Unserved => false,
        };
        let mut slot = self.topology.lock().await;
        if elsewhere && slot.as_ref().is_some_and(|standing| Arc::ptr_eq(standing, topology)) {
            *slot = None;
            self.options.uri.doubt();
        }
    }

    /// The verdicts on those entities of a call that the server named.
    fn refusals(&self, plan: &Plan<'_>, rows: &[&FeatureRow], call: &Call, answer: &Answer) -> Vec<(usize, Refusal)> {
        let indices = plan.indices(call);
        let refusal = |(place, error): &(usize, String)| {
            let index = indices[*place];
            let key = layout::key(&self.options.cache_prefix, &rows[index].entity);
            let shown = String::from_utf8_lossy(&key).chars().take(200).collect::<String>();
            let refusal = Refusal {
                code: Some("WRONGTYPE".into()),
                ..Refusal::new(
                    ErrorClass::ValueRefused,
                    format!("the key `{shown}` is not a hash of this store's layout: {error}"),
                )
            };
            (index, merge::at(refusal, rows[index]))
        };
        answer.failed.iter().map(refusal).collect()
    }
}

#[async_trait]
impl Sink<FeatureRow> for RedisStore {
    async fn write(&self, write: Write<'_, FeatureRow>) -> Result<Outcome, SinkError> {
        let mut outcome = Outcome::default();
        let mut sound = Vec::with_capacity(write.rows.len());
        for (index, row) in write.rows.iter().enumerate() {
            match merge::refusal(row) {
                Some(refusal) => outcome.refused.push((index, refusal)),
                None if row.cells.is_empty() => {}
                None => sound.push(index),
            }
        }
        if sound.is_empty() {
            return Ok(outcome);
        }
        let topology = self.topology().await?;
        let (plan, calls) = Plan::new(&topology, write.rows, sound);
        let writing = Writing {
            topology: &topology,
            plan,
            now: merge::now_micros(),
            window: (write.concurrency.max(1) * ENTITIES) as u32,
            wait_replicas: topology
                .link
                .address
                .wait_replicas
                .or(given(self.settings.wait_replicas.as_ref()))
                .unwrap_or(0),
        };
        let Written { answered, left } = writing.run(calls).await;
        for (_, trouble) in &left {
            self.reconsider(&topology, trouble).await;
        }
        let denied = left.iter().find(|(_, trouble)| trouble.kind == Kind::Denied);
        if let Some((_, trouble)) = denied.or_else(|| left.first().filter(|_| answered.is_empty())) {
            return Err(trouble.clone().into());
        }
        for (call, answer) in &answered {
            outcome.stored += answer.stored;
            outcome.stale += answer.stale;
            outcome.refused.extend(self.refusals(&writing.plan, write.rows, call, answer));
        }
        for (call, trouble) in &left {
            outcome.again.extend(writing.plan.indices(call));
            outcome.reason.get_or_insert_with(|| trouble.reason.clone());
        }
        Ok(outcome)
    }

    async fn probe(&self) -> Result<(), SinkError> {
        let topology = self.topology().await?;
        if let Err(trouble) = topology.reach().await {
            self.reconsider(&topology, &trouble).await;
            return Err(trouble.into());
        }
        Ok(())
    }

    fn collapse(&self, _: &Entity, rows: &[&FeatureRow]) -> FeatureRow {
        merge::collapse(rows, compare)
    }
}

#[async_trait]
impl OnlineStore for RedisStore {
    async fn read(&self, entity: &Entity) -> Result<Vec<StoredFeature>, SinkError> {
        let topology = self.topology().await?;
        let key = layout::key(&self.options.cache_prefix, entity);
        let read = async {
            topology.check_layout().await?;
            topology.run(topology.slot(&key), "HGETALL", vec![key.into()]).await
        };
        let fields = match read.await {
            Ok(reply) => reply.convert::<HashMap<Bytes, Bytes>>(),
            Err(trouble) => {
                self.reconsider(&topology, &trouble).await;
                return Err(trouble.into());
            }
        };
        let fields =
            fields.map_err(|_| SinkError::from(Trouble::unexpected(&topology.link.address.to_string(), "no hash")))?;
        let mut features = Vec::new();
        for (field, value) in fields {
            if !field.is_empty() {
                features.push(layout::stored(&field, &value)?);
            }
        }
        features.sort_by(|one: &StoredFeature, other| one.feature.cmp(&other.feature));
        Ok(features)
    }
}

/// The script compares the stored bytes.
fn compare(one: &Value, other: &Value) -> Ordering {
    let encoded = |value| {
        let mut bytes = Vec::new();
        msgpack::write(value, &mut bytes);
        bytes
    };
    encoded(one).cmp(&encoded(other))
}
