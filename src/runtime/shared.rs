//! What every batch of a pipeline is written with, whichever of them come first.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashSet;

use super::budget::Budget;
use super::burial::Graveyard;
use super::emit::Emission;
use super::health::Health;
use super::parking::{Away, Parking};
use super::{Destination, Policy};
use crate::bus::Transactions;
use crate::sink::Row;

/// Where rows of a pipeline go.
pub(super) struct Target<R: Row> {
    pub(super) destinations: Vec<Destination<R>>,
    pub(super) emission: Option<Emission<R>>,
    pub(super) transactions: Option<Arc<dyn Transactions>>,
}

/// What every batch of a pipeline is written with.
pub(super) struct Shared<R: Row> {
    pub(super) destinations: Vec<Destination<R>>,
    pub(super) emission: Option<Emission<R>>,
    pub(super) transactions: Option<Arc<dyn Transactions>>,
    pub(super) graveyard: Option<Graveyard>,
    pub(super) parking: Option<Parking>,
    pub(super) away: Arc<Away>,
    pub(super) policy: Policy,
    pub(super) health: Arc<Health>,
    /// Per destination, how many requests it may have under way: halved when it throttles.
    pub(super) concurrency: Vec<AtomicUsize>,
    pub(super) budget: Mutex<Budget>,
    /// Environments that freshness is told apart by.
    environments: Mutex<HashSet<Arc<str>>>,
}

/// Environments beyond these share one label: under `*` the names come from messages, and a
/// producer that puts an id there must not fill the memory with series.
const ENVIRONMENTS: usize = 200;

impl<R: Row> Shared<R> {
    pub(super) fn new(
        target: Target<R>,
        graveyard: Option<Graveyard>,
        parking: Option<Parking>,
        away: Arc<Away>,
        policy: Policy,
        health: Arc<Health>,
    ) -> Self {
        let Target { destinations, emission, transactions } = target;
        let budget = Mutex::new(Budget::new(policy.budget));
        let concurrency = destinations.iter().map(|_| AtomicUsize::new(policy.concurrency)).collect();
        let environments = Mutex::default();
        Self {
            destinations,
            emission,
            transactions,
            graveyard,
            parking,
            away,
            policy,
            health,
            concurrency,
            budget,
            environments,
        }
    }

    /// What people know by the number that a row calls its destination.
    pub(super) fn named(&self, destination: usize) -> &str {
        match &self.emission {
            Some(emission) => &emission.name,
            None => &self.destinations[destination].name,
        }
    }

    /// What an environment's series are called.
    pub(super) fn label(&self, environment: &Arc<str>) -> String {
        let mut known = self.environments.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(environment) {
            if known.len() >= ENVIRONMENTS {
                return "other".to_owned();
            }
            known.insert(environment.clone());
        }
        environment.to_string()
    }
}
