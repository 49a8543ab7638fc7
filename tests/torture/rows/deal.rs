//! Which bus a run has, and which kind of store each role: a seed's two runs have the other of both.

use super::ROLES;

pub struct Hand {
    pub is_kafka: bool,
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
    Hand { is_kafka: run == 0, in_postgres: in_postgres.to_vec() }
}
