//! From a plan to a pipeline that is ready to run: everything that needs I/O.

mod awaiting;
mod connect;
mod harm;
mod keeping;
mod targets;
mod with;

use std::sync::Arc;

use self::awaiting::Awaiting;
use self::connect::Connect;
pub use self::keeping::{unfit_for_parking, unfit_for_publishing, worries, worry_of_parking};
use self::targets::{Targets, enough};
pub use self::with::{Again, MayCome, Start, StartError};
use super::plan::Plan;
use super::skip;
use crate::decode::Decoder;
use crate::runtime::{Away, Beside, Pipeline, Run, Unparked};
use crate::sink::Row;

/// Starts a plan.
pub(super) async fn start<R: Row>(plan: Plan<R>, with: Start) -> Result<Box<dyn Run>, StartError> {
    let Plan { reads, dead_letter_topic, publishes, decoder, destinations, store_limits, parking, mut policy } = plan;
    policy.eager = with.drain || with.again.is_some();
    let connect = Connect { with: &with, retry: policy.retry };

    let targets = Targets::look(&connect, destinations, store_limits).await?;
    if let Some(Again::Between { force, .. }) = with.again {
        targets.may_be_read_again(force)?;
    }
    let outlet = match publishes {
        Some(publishes) => Some(connect.outlet(publishes).await?),
        None => None,
    };
    let parking = parking.filter(|_| with.again.is_none());
    if parking.is_some() {
        targets.may_be_parked_for()?;
    }
    let (destinations, emission) = targets.open(outlet.as_ref(), &with.health)?;
    if let Some(enough) = enough(destinations.iter().map(|destination| destination.sink.enough())) {
        policy.max_bytes = policy.max_bytes.min(enough);
    }

    // Before anything is made: one that is not there has nothing to read, and rather is a wrong name.
    connect.readable(&reads.subscription, &reads.named_by).await?;
    connect.nothing_comes_back(&reads).await?;
    let dead_letters = match dead_letter_topic {
        Some(topic) => Some(connect.dead_letters(topic, reads.embedded).await?),
        None => None,
    };
    let parked = match parking {
        Some(parking) => Some(connect.parked(parking, &reads, &policy).await?),
        None => None,
    };
    let subscription = connect.subscription(&reads, policy.holds(reads.fetch_bytes), emission.is_some()).await?;
    for (reason, _) in skip::ALL {
        metrics::counter!("chalk_writer_values_skipped_total", "reason" => *reason).increment(0);
    }

    let decoder = understood(decoder, &with);
    let (health, away) = (with.health, Arc::<Away>::default());
    let mut main =
        Pipeline { subscription, decoder, destinations, emission, dead_letters, parking: None, away, policy, health };
    let Some((parking, subscription, policy)) = parked else { return Ok(Box::new(main)) };
    let parked = Pipeline {
        subscription,
        decoder: Arc::new(Unparked(Arc::clone(&main.decoder))),
        destinations: main.destinations.clone(),
        emission: None,
        dead_letters: main.dead_letters.clone(),
        parking: None,
        away: Arc::clone(&main.away),
        policy,
        health: Arc::clone(&main.health),
    };
    // A drain is to write everything, so it waits for every store.
    main.parking = Some(parking).filter(|_| !with.drain);
    Ok(Box::new(Beside { main, parked }))
}

/// The decoder as this start wants it.
fn understood<R: Row>(decoder: Arc<dyn Decoder<R>>, with: &Start) -> Arc<dyn Decoder<R>> {
    let decoder: Arc<dyn Decoder<R>> = match &with.may_come {
        Some(may_come) => Arc::new(Awaiting { decoder, may_come: Arc::clone(may_come) }),
        None => decoder,
    };
    // One that was parked is what it was before, also where it is read again by itself.
    if with.again.is_some() { Arc::new(Unparked(decoder)) } else { decoder }
}

#[cfg(test)]
mod tests;
