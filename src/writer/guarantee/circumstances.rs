//! All that guarantees depend on, gathered from the places that run by it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::kept::Kept;
use super::may::{Effect, May};
use super::{Change, There};
use crate::bus::{self, Waits};
use crate::config::settings::{BusSettings, CacheStrategy, Environment, MaxStaleness, OnGap, Tuning, WriterSettings};
use crate::config::units::show_duration;
use crate::runtime::Policy;
use crate::store::durability::Durability;
use crate::writer::doubles::{Doubles, Repetition};
use crate::writer::{AnyPlan, Facts, Stands};

/// All that guarantees depend on.
pub(super) struct Circumstances<'a> {
    pub(super) facts: &'static Facts,
    pub(super) policy: &'a Policy,
    pub(super) tuning: &'a Tuning,
    pub(super) dead_letter_topic: Option<&'a str>,
    pub(super) on_gap: OnGap,
    pub(super) kept: &'a [Kept],
    pub(super) bus: &'a BusSettings,
    pub(super) waits: Waits,
    /// Whether anything that it writes may be evicted, and so could come back.
    pub(super) evicts: bool,
    /// Whether anything that it writes expires.
    pub(super) expires: bool,
}

impl<'a> Circumstances<'a> {
    pub(super) fn new(
        settings: &'a WriterSettings,
        facts: &'static Facts,
        plan: &'a dyn AnyPlan,
        kept: &'a [Kept],
    ) -> Self {
        let environments = || settings.environments.entries.values();
        let newest = facts.stands == Stands::Newest && kept.iter().any(|kept| kept.has_tombstones);
        // Only an online store has strategies and staleness; vectors are deleted by messages of their own.
        let online = environments().any(|environment| environment.online_store.is_some());
        let is_online = settings.writer_type.info().store == Some("online_store");
        Self {
            facts,
            policy: plan.policy(),
            tuning: &settings.tuning,
            dead_letter_topic: plan.dead_letter_topic(),
            on_gap: plan.reads().on_gap,
            kept,
            bus: &settings.bus,
            waits: bus::waits(&settings.bus),
            evicts: newest && (!is_online || environments().any(evicts)),
            expires: newest && is_online && online && environments().any(expires),
        }
    }

    /// What may come of a repetition in each destination, beside what may come of it anywhere.
    pub(super) fn repeated(&self, base: May, repetition: Repetition) -> Vec<There> {
        self.there(|kept| match &kept.doubles {
            Ok(doubles) => (base.with(Effect::Duplicated, doubles.after(repetition)), self.words(*doubles, repetition)),
            Err(error) => (
                base.or(May::only(Effect::Duplicated)),
                format!("perhaps there twice; which store it is could not be found out: {error}"),
            ),
        })
    }

    /// What may come of something in each destination.
    pub(super) fn there(&self, of: impl Fn(&Kept) -> (May, String)) -> Vec<There> {
        let one = |kept: &Kept| {
            let (mut may, mut because) = of(kept);
            if kept.durability == Some(Durability::Nowhere) {
                (may, because) = (May::only(Effect::Lost), "it keeps nothing of what it is given".to_owned());
            }
            There { destination: kept.name.clone(), may, because }
        };
        self.kept.iter().map(one).collect()
    }

    /// What a destination does with what it is given again.
    fn words(&self, doubles: Doubles, repetition: Repetition) -> String {
        let known_by = self.facts.known_by;
        match (doubles, doubles.after(repetition)) {
            (Doubles::Never, _) => format!("what comes again is known by {known_by}, and changes nothing"),
            (Doubles::Keyless, _) => format!("a row without {known_by} is there twice; any other changes nothing"),
            (Doubles::ReadAgain, true) => {
                format!("what is read again is there twice, with the same {known_by}; readers take one of each")
            }
            (Doubles::ReadAgain, false) => "the repetition replaces what the write left".to_owned(),
            (Doubles::SentAgain, _) => format!("it is published once more, with the same {known_by}"),
            (Doubles::CountedAgain, _) => {
                "what was made of it is published once more, and readers count it twice".to_owned()
            }
            (Doubles::OutOfPosition, true) => "it is published once more".to_owned(),
            (Doubles::OutOfPosition, false) => {
                "what is published lands in one transaction with the positions that it was read from".to_owned()
            }
        }
    }

    /// Whether a destination of its own makes it stronger: one with keys where there are none.
    pub(super) fn with_keys(&self) -> Option<Change> {
        let keyless = self.kept.iter().find(|kept| kept.doubles == Ok(Doubles::ReadAgain))?;
        let field = "environments.<id>";
        let change = "a store with keys (`postgres:`) has each row once".to_owned();
        let now = keyless.scheme.as_ref().map(|scheme| format!("{scheme}:"));
        Some(Change { setting: format!("{field}.…_store.uri"), now, strengthens: true, change })
    }

    /// How long a destination is tried, and how.
    pub(super) fn retries(&self) -> String {
        let retry = self.policy.retry;
        format!(
            "a write is tried again without end, {} to {} apart; positions wait, and nothing more is read once {} \
             are full",
            show_duration(retry.first),
            show_duration(retry.longest),
            if self.policy.in_flight == 1 {
                "the batch and the next one".to_owned()
            } else {
                format!("{} batches and the next one", self.policy.in_flight)
            }
        )
    }

    /// A property of librdkafka as the configuration sets it.
    pub(super) fn property(&self, name: &str) -> Option<&'a str> {
        let BusSettings::Kafka(kafka) = self.bus else { return None };
        kafka.properties.get(name).map(String::as_str)
    }

    /// Whether the bus is Pub/Sub.
    pub(super) fn is_pub_sub(&self) -> bool {
        matches!(self.bus, BusSettings::Pubsub(_))
    }

    /// Whether the bus is Kafka.
    pub(super) fn is_kafka(&self) -> bool {
        matches!(self.bus, BusSettings::Kafka(_))
    }
}

/// A change that makes a guarantee stronger.
pub(super) fn stronger(setting: &str, now: Option<String>, change: &str) -> Change {
    Change { setting: setting.to_owned(), now, strengthens: true, change: change.to_owned() }
}

/// A change that makes a guarantee weaker.
pub(super) fn weaker(setting: &str, now: Option<String>, change: &str) -> Change {
    Change { strengthens: false, ..stronger(setting, now, change) }
}

/// A duration as the configuration has it.
pub(super) fn lasting(duration: Duration) -> Option<String> {
    Some(show_duration(duration))
}

fn evicts(environment: &Environment) -> bool {
    let strategies = environment.features.iter().flat_map(|features| features.values().map(|one| one.cache_strategy));
    strategies.into_iter().any(|strategy| {
        matches!(
            strategy,
            CacheStrategy::EvictNulls | CacheStrategy::EvictDefaults | CacheStrategy::EvictNullsAndDefaults
        )
    })
}

fn expires(environment: &Environment) -> bool {
    let ends = |staleness: Option<MaxStaleness>| matches!(staleness, Some(MaxStaleness::For(_)));
    ends(environment.default_max_staleness)
        || environment.features.iter().flat_map(BTreeMap::values).any(|one| ends(one.max_staleness))
}
