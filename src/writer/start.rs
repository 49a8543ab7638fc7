//! From a plan to a pipeline that is ready to run: everything that needs I/O.

mod awaiting;
mod connect;
mod harm;
mod keeping;
mod with;

use std::fmt::Display;
use std::sync::Arc;

use self::awaiting::Awaiting;
use self::connect::Connect;
use self::harm::harm;
pub use self::keeping::{unfit_for_parking, worries, worry_of_parking};
pub use self::with::{Again, MayCome, Start, StartError};
use super::destinations::{OpenTopic, Opened, Opener, PlannedDestination, To};
use super::doubles::Doubles;
use super::outlet::Outlet;
use super::plan::Plan;
use super::skip;
use crate::bus::Subscribe;
use crate::config::secret::expose;
use crate::decode::Decoder;
use crate::runtime::{Away, Beside, Destination, Emission, Pipeline, Run, Unparked};
use crate::sink::Row;
use crate::store::{StoreError, StoreOptions};

/// Starts a plan.
pub(super) async fn start<R: Row>(plan: Plan<R>, with: Start) -> Result<Box<dyn Run>, StartError> {
    let Plan { reads, dead_letter_topic, publishes, decoder, destinations: planned, store_limits, parking, mut policy } =
        plan;
    policy.eager = with.drain || with.again.is_some();
    let connect = Connect { with: &with, retry: policy.retry };
    let mut harms = Vec::new();
    let mut found = Vec::with_capacity(planned.len());
    let mut emits = None;
    for PlannedDestination { name, to } in planned {
        let part = match to {
            To::Store(store) => {
                let options = connect.options(&name, &store.settings, store_limits).await?;
                if let Some(Again::Between { from_ms, .. }) = &with.again {
                    let doubles = store.doubles(expose(&options.fetched)).map_err(|error| unusable(&name, &error))?;
                    let tombstones_for = store.has_tombstones.then_some(options.limits.tombstone_retention);
                    let harm = harm(*from_ms, doubles, tombstones_for);
                    harms.extend(harm.map(|harm| format!("{name} {harm}")));
                }
                Part::Store(options, store.open)
            }
            To::Topic(open) => {
                if let Some(Again::Between { from_ms, .. }) = &with.again {
                    harms.extend(harm(*from_ms, Doubles::SentAgain, None).map(|harm| format!("{name} {harm}")));
                }
                Part::Topic(open)
            }
            To::Transactions(open) => {
                if let Some(Again::Between { from_ms, .. }) = &with.again {
                    harms.extend(harm(*from_ms, Doubles::OutOfPosition, None).map(|harm| format!("{name} {harm}")));
                }
                emits = Some((name, open));
                continue;
            }
        };
        with.health.has(&name, false);
        found.push((name, part));
    }
    if let Some(Again::Between { force, .. }) = &with.again
        && !harms.is_empty()
    {
        let harms = harms.join("; ");
        if !force {
            return Err(StartError::Harmful(format!("reading again does harm, and `--force` does it: {harms}")));
        }
        tracing::warn!("reading again does harm, as forced: {harms}");
    }

    let outlet = match publishes {
        Some(publishes) => Some(connect.outlet(publishes).await?),
        None => None,
    };
    let emission = match emits {
        Some((name, open)) => {
            let outlet = outlet.as_ref().ok_or_else(|| unusable(&name, &NO_TOPIC))?;
            // It was found just now.
            with.health.has(&name, true);
            Some(Emission { name, emit: open(outlet), publisher: Arc::clone(outlet.publisher()) })
        }
        None => None,
    };
    let parking = parking.filter(|_| with.again.is_none());
    if parking.is_some()
        && (emission.is_some()
            || found.iter().any(|(_, part)| matches!(part, Part::Topic(_) | Part::Store(_, Opener::Publishing(_)))))
    {
        let text = "`park_after` is for writers with stores; this one publishes, and a bus that is away is waited for";
        return Err(StartError::Configuration(text.to_owned()));
    }
    let mut destinations = Vec::with_capacity(found.len());
    for (name, part) in found {
        let sink = part.open(outlet.as_ref()).map_err(|error| unusable(&name, &error))?;
        destinations.push(Destination { name, sink });
    }
    if let Some(enough) = enough(destinations.iter().map(|destination| destination.sink.enough())) {
        policy.max_bytes = policy.max_bytes.min(enough);
    }

    // Before anything is made: one that is not there has nothing to read, and rather is a wrong name.
    let topic = &reads.subscription;
    connect.readable(topic, &reads.named_by).await?;
    let dead_letters = match dead_letter_topic {
        Some(topic) => Some(connect.dead_letters(topic, reads.embedded).await?),
        None => None,
    };
    let parked = match parking {
        Some(parking) => Some(connect.parked(parking, &reads, &policy).await?),
        None => None,
    };
    let subscription = if let Some(again) = &with.again {
        connect.again(topic, again, policy.holds(reads.fetch_bytes)).await?
    } else {
        let subscribe = Subscribe {
            topic: topic.clone(),
            group: reads.group.clone(),
            drain: with.drain,
            fetch_bytes: reads.fetch_bytes,
            hold: policy.holds(reads.fetch_bytes),
            on_gap: reads.on_gap,
            transactional: emission.is_some(),
        };
        let part = format!("subscription of `{topic}`");
        connect.patiently(&part, || with.bus.subscribe(subscribe.clone())).await?
    };
    for (reason, _) in skip::ALL {
        metrics::counter!("chalk_writer_values_skipped_total", "reason" => *reason).increment(0);
    }
    let decoder: Arc<dyn Decoder<R>> = match &with.may_come {
        Some(may_come) => Arc::new(Awaiting { decoder, may_come: Arc::clone(may_come) }),
        None => decoder,
    };
    // One that was parked is what it was before, also where it is read again by itself.
    let decoder: Arc<dyn Decoder<R>> = if with.again.is_some() { Arc::new(Unparked(decoder)) } else { decoder };
    let (health, away) = (with.health, Arc::<Away>::default());
    let beside = parked.map(|(parking, subscription, policy)| {
        let decoder: Arc<dyn Decoder<R>> = Arc::new(Unparked(decoder.clone()));
        let (destinations, dead_letters) = (destinations.clone(), dead_letters.clone());
        let (health, away) = (health.clone(), away.clone());
        let parked = Pipeline {
            subscription,
            decoder,
            destinations,
            emission: None,
            dead_letters,
            parking: None,
            away,
            policy,
            health,
        };
        (parking, parked)
    });
    // A drain is to write everything, so it waits for every store.
    let parking = beside.as_ref().filter(|_| !with.drain).map(|(parking, _)| parking.clone());
    let main = Pipeline { subscription, decoder, destinations, emission, dead_letters, parking, away, policy, health };
    Ok(match beside {
        Some((_, parked)) => Box::new(Beside { main, parked }),
        None => Box::new(main),
    })
}

/// A writer that publishes, in an installation that names no topic for it.
const NO_TOPIC: &str = "publishes, and no topic to publish to is named";

/// A destination that is about to be opened.
enum Part<R: Row> {
    Store(StoreOptions, Opener<R>),
    Topic(OpenTopic<R>),
}

impl<R: Row> Part<R> {
    fn open(self, outlet: Option<&Outlet>) -> Opened<R> {
        let outlet = || outlet.ok_or_else(|| StoreError(NO_TOPIC.to_owned()));
        match self {
            Self::Store(options, Opener::Store(open)) => open(&options),
            Self::Store(options, Opener::Publishing(open)) => open(&options, outlet()?),
            Self::Topic(open) => open(outlet()?),
        }
    }
}

/// A destination whose settings cannot work.
fn unusable(name: &str, error: &dyn Display) -> StartError {
    StartError::Configuration(format!("{name}: {error}"))
}

/// Bytes of a batch that are enough for every store; `None` where one gains by any more.
fn enough(mut stores: impl Iterator<Item = Option<usize>>) -> Option<usize> {
    stores.try_fold(0, |most, enough| Some(most.max(enough?))).filter(|most| *most > 0)
}

#[cfg(test)]
mod tests;
