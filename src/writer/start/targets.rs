//! Where a writer's rows will go: looked at first, since some of it may forbid the start, and opened then.

use std::fmt::Display;
use std::sync::Arc;

use super::connect::Connect;
use super::harm::harm;
use super::with::{Again, StartError};
use crate::config::secret::expose;
use crate::runtime::{Destination, Emission, Health};
use crate::sink::Row;
use crate::store::{StoreError, StoreLimits, StoreOptions};
use crate::writer::destinations::{OpenEmit, OpenTopic, Opened, Opener, PlannedDestination, PlannedStore, To};
use crate::writer::doubles::Doubles;
use crate::writer::outlet::Outlet;

/// A writer that publishes, in an installation that names no topic for it.
const NO_TOPIC: &str = "publishes, and no topic to publish to is named";

/// Destinations whose settings have been read, and that nobody has been connected to.
pub(super) struct Targets<R: Row> {
    parts: Vec<(String, Part<R>)>,
    emits: Option<(String, OpenEmit<R>)>,
    /// What reading a stretch again would do to each of them beyond writing what is missing.
    harms: Vec<String>,
}

/// A destination that is about to be opened.
enum Part<R: Row> {
    Store(StoreOptions, Opener<R>),
    Topic(OpenTopic<R>),
}

impl<R: Row> Targets<R> {
    /// Reads what each destination is opened with, its secrets among it.
    pub(super) async fn look(
        connect: &Connect<'_>,
        planned: Vec<PlannedDestination<R>>,
        limits: StoreLimits,
    ) -> Result<Self, StartError> {
        let mut targets = Self { parts: Vec::with_capacity(planned.len()), emits: None, harms: Vec::new() };
        for PlannedDestination { name, to } in planned {
            let part = match to {
                To::Store(store) => {
                    let options = connect.options(&name, &store.settings, limits).await?;
                    targets.harms.extend(harm_to_store(connect, &name, &store, &options)?);
                    Part::Store(options, store.open)
                }
                To::Topic(open) => {
                    targets.harms.extend(harm_to_readers(connect, &name, Doubles::SentAgain));
                    Part::Topic(open)
                }
                To::Transactions(open) => {
                    targets.harms.extend(harm_to_readers(connect, &name, Doubles::OutOfPosition));
                    targets.emits = Some((name, open));
                    continue;
                }
            };
            connect.with.health.has(&name, false);
            targets.parts.push((name, part));
        }
        Ok(targets)
    }

    /// Whether reading a stretch again may be done: where it does harm, only by force.
    pub(super) fn may_be_read_again(&self, force: bool) -> Result<(), StartError> {
        if self.harms.is_empty() {
            return Ok(());
        }
        let harms = self.harms.join("; ");
        if !force {
            return Err(StartError::Harmful(format!("reading again does harm, and `--force` does it: {harms}")));
        }
        tracing::warn!("reading again does harm, as forced: {harms}");
        Ok(())
    }

    /// Whether messages may be moved aside while one of them is away.
    pub(super) fn may_be_parked_for(&self) -> Result<(), StartError> {
        let publishes = |part: &Part<R>| matches!(part, Part::Topic(_) | Part::Store(_, Opener::Publishing(_)));
        if self.emits.is_some() || self.parts.iter().any(|(_, part)| publishes(part)) {
            let text =
                "`park_after` is for writers with stores; this one publishes, and a bus that is away is waited for";
            return Err(StartError::Configuration(text.to_owned()));
        }
        Ok(())
    }

    /// Opens all of them; contacts nothing.
    pub(super) fn open(
        self,
        outlet: Option<&Outlet>,
        health: &Health,
    ) -> Result<(Vec<Destination<R>>, Option<Emission<R>>), StartError> {
        let emission = match self.emits {
            Some((name, open)) => {
                let outlet = outlet.ok_or_else(|| unusable(&name, &NO_TOPIC))?;
                // Its topic has been looked at.
                health.has(&name, true);
                Some(Emission { name, emit: open(outlet), publisher: Arc::clone(outlet.publisher()) })
            }
            None => None,
        };
        let mut destinations = Vec::with_capacity(self.parts.len());
        for (name, part) in self.parts {
            let sink = part.open(outlet).map_err(|error| unusable(&name, &error))?;
            destinations.push(Destination { name, sink });
        }
        Ok((destinations, emission))
    }
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

fn harm_to_store<R: Row>(
    connect: &Connect<'_>,
    name: &str,
    store: &PlannedStore<R>,
    options: &StoreOptions,
) -> Result<Option<String>, StartError> {
    let Some(from_ms) = read_again_from(connect) else { return Ok(None) };
    let doubles = store.doubles(expose(&options.fetched)).map_err(|error| unusable(name, &error))?;
    let tombstones_for = store.has_tombstones.then_some(options.limits.tombstone_retention);
    Ok(harm(from_ms, doubles, tombstones_for).map(|harm| format!("{name} {harm}")))
}

fn harm_to_readers(connect: &Connect<'_>, name: &str, doubles: Doubles) -> Option<String> {
    let harm = harm(read_again_from(connect)?, doubles, None)?;
    Some(format!("{name} {harm}"))
}

fn read_again_from(connect: &Connect<'_>) -> Option<i64> {
    match connect.with.again {
        Some(Again::Between { from_ms, .. }) => Some(from_ms),
        Some(Again::These(_)) | None => None,
    }
}

/// A destination whose settings cannot work.
fn unusable(name: &str, error: &dyn Display) -> StartError {
    StartError::Configuration(format!("{name}: {error}"))
}

/// Bytes of a batch that are enough for every store; `None` where one gains by any more.
pub(super) fn enough(mut stores: impl Iterator<Item = Option<usize>>) -> Option<usize> {
    stores.try_fold(0, |most, enough| Some(most.max(enough?))).filter(|most| *most > 0)
}
