//! Which bus a run has, and which kind of store each role: a seed's two runs have the other of both.

use super::faults::Fault;
use super::{ROLES, variable};
use crate::bus::Brokers;

/// Seconds from which on a run is a long one.
const LONG: u64 = 300;

pub struct Hand {
    /// None for the embedded bus.
    pub brokers: Option<Brokers>,
    /// Fields of the environment whose store is Postgres; the others are files.
    pub in_postgres: Vec<&'static str>,
}

pub fn to(run: usize, seed: u64) -> Hand {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut fields: Vec<&str> = ROLES.iter().filter_map(|role| Some(role.store?.0)).collect();
    fields.sort_unstable();
    fields.dedup();
    random.shuffle(&mut fields);
    let (first, second) = fields.split_at(fields.len() / 2);
    let swapped = random.bool();
    let in_postgres = if (run == 0) == swapped { first } else { second };
    let brokers = (run == 0).then(brokers);
    Hand { brokers, in_postgres: in_postgres.to_vec() }
}

/// Three take their time and their processor: they are for long runs, and for whoever asks for what needs them.
fn brokers() -> Brokers {
    let is_asked_for = std::env::var_os("TORTURE_FAULTS").is_some() && Fault::chosen().contains(&Fault::LossOfABroker);
    let usual = if is_asked_for || variable("TORTURE_SECONDS", 30) >= LONG { 3 } else { 1 };
    match variable("TORTURE_BROKERS", usual) {
        1 => Brokers::One,
        3 => Brokers::Three,
        other => panic!("TORTURE_BROKERS={other}: 1 or 3"),
    }
}
