//! The store that keeps nothing: `blackhole:`, for measuring and for trying a configuration.
//!
//! A writer into it reads, decodes, batches and acknowledges as always, so what it takes is what the
//! way to a store takes, and what would be buried is buried. The messages are acknowledged for good:
//! a group that wrote here has to be reset, or another one used, before their values go elsewhere.
//! `check` warns of it.

use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering as Access};

use async_trait::async_trait;

use super::{OnlineStore, StoredFeature, merge};
use crate::config::secret::expose;
use crate::row::feature::{Entity, FeatureRow};
use crate::sink::{Outcome, Sink, SinkError, Write};
use crate::store::{StoreError, StoreOptions};
use crate::value::{Value, msgpack};

/// Its scheme.
pub(in crate::store) const SCHEME: &str = "blackhole";

#[derive(Default)]
struct Blackhole {
    told: AtomicBool,
}

/// Checks that the URI is the scheme alone.
pub(in crate::store) fn open(options: &StoreOptions) -> Result<Arc<dyn OnlineStore>, StoreError> {
    match expose(&options.fetched).split_once(':') {
        Some((_, "")) => Ok(Arc::new(Blackhole::default())),
        _ => Err(StoreError(format!("online store: `{SCHEME}:` has nothing behind its scheme; it keeps nothing"))),
    }
}

#[async_trait]
impl Sink<FeatureRow> for Blackhole {
    async fn probe(&self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Refuses what every store refuses. Nothing is stored, so that no counter says otherwise.
    async fn write(&self, write: Write<'_, FeatureRow>) -> Result<Outcome, SinkError> {
        if !self.told.swap(true, Access::Relaxed) {
            tracing::warn!("the online store is `{SCHEME}:`, which keeps nothing of what is acknowledged");
        }
        let verdicts = write.rows.iter().enumerate();
        let refused = verdicts.filter_map(|(index, row)| Some((index, merge::refusal(row)?))).collect();
        Ok(Outcome { refused, ..Outcome::default() })
    }

    fn collapse(&self, _: &Entity, rows: &[&FeatureRow]) -> FeatureRow {
        merge::collapse(rows, compare)
    }
}

/// Of values observed at one time the larger encoding wins, as in most stores.
fn compare(one: &Value, other: &Value) -> Ordering {
    let encoded = |value| {
        let mut bytes = Vec::new();
        msgpack::write(value, &mut bytes);
        bytes
    };
    encoded(one).cmp(&encoded(other))
}

#[async_trait]
impl OnlineStore for Blackhole {
    async fn read(&self, _entity: &Entity) -> Result<Vec<StoredFeature>, SinkError> {
        Ok(Vec::new())
    }
}
