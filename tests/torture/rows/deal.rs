//! Which bus a run has, which stores and which roles: a seed's two runs of all writers have the other of what there are two of. A third
//! is on Pub/Sub.

use std::collections::BTreeMap;

use chalk_writer::config::StoreKind;

use super::faults::Fault;
use super::role::Role;
use super::{ROLES, features, history, republish, variable};
use crate::bus::Brokers;
use crate::keepers::Keeper;
use crate::own::{OWN, Own, fail};

/// Seconds from which on a run is a long one.
const LONG: u64 = 300;

pub struct Hand {
    /// Of Kafka.
    pub brokers: Option<Brokers>,
    /// Without it, and without brokers, it is the embedded bus.
    pub is_pubsub: bool,
    pub stores: BTreeMap<StoreKind, Keeper>,
    pub roles: Vec<&'static Role>,
    /// Whether messages for a store that is away are moved aside.
    pub parks: bool,
    /// Servers that are not ours.
    pub own: Option<&'static Own>,
}

/// The run that is on Google's emulator of Pub/Sub.
const ON_PUBSUB: usize = 2;

pub fn to(run: usize, seed: u64) -> Hand {
    let is_pubsub = run == ON_PUBSUB;
    let own = OWN.as_ref().filter(|_| run == 0);
    let mut random = fastrand::Rng::with_seed(seed);
    let (swapped, parks) = (random.bool(), random.bool());
    // History goes straight to its store in one run, and by way of the bus in the other.
    let other_history = if (run == 0) == swapped { &history::ROLE } else { &republish::ROLE };
    let mut roles = chosen(own.is_some(), if is_pubsub { &history::ROLE } else { other_history });
    if is_pubsub && std::env::var_os("TORTURE_WRITERS").is_none() {
        roles.retain(|role| [features::ROLE.name, history::ROLE.name].contains(&role.name));
    }
    let mut stores = BTreeMap::new();
    for kind in StoreKind::ALL {
        let mut keepers = Keeper::of_kind(kind);
        random.shuffle(&mut keepers);
        let dealt = keepers[run % keepers.len()];
        stores.insert(kind, own.map_or(dealt, |own| of_ones_own(own, kind)));
    }
    for (kind, keeper) in asked_for() {
        if own.is_some() {
            fail(
                "TORTURE_STORES",
                "not with servers of one's own: TORTURE_REDIS and TORTURE_POSTGRES say which there are",
            );
        }
        stores.insert(kind, keeper);
    }
    let brokers = match own {
        Some(Own { kafka: None, .. }) => None,
        Some(_) => Some(Brokers::Theirs),
        None => (run == 0).then(brokers),
    };
    // What is moved aside is told by its place, which nothing has on Pub/Sub.
    let parks = (run == 0) == parks && !is_pubsub;
    Hand { brokers, is_pubsub, stores, roles, parks, own }
}

/// What was given where it can be, and a file else.
fn of_ones_own(own: &Own, kind: StoreKind) -> Keeper {
    let known = Keeper::of_kind(kind);
    let given = [(Keeper::Redis, own.redis.is_some()), (Keeper::Postgres, own.postgres.is_some())];
    let given = given.into_iter().find(|(keeper, is_given)| *is_given && known.contains(keeper));
    let is_file = |keeper: &&Keeper| matches!(keeper, Keeper::Sqlite | Keeper::Lake);
    given.map_or_else(|| *known.iter().find(is_file).expect("each kind has one that is a file"), |(keeper, _)| keeper)
}

/// The roles of a run: those whose writers `TORTURE_WRITERS` names, or all. Of the two with history there is one, since
/// they read one topic.
fn chosen(is_own: bool, other_history: &'static Role) -> Vec<&'static Role> {
    let wanted = std::env::var("TORTURE_WRITERS").ok();
    let known = || ROLES.iter().flat_map(|role| role.writers).copied();
    let wanted: Option<Vec<&str>> = wanted.as_ref().map(|names| {
        let find = |name: &str| {
            known().find(|known| known.eq_ignore_ascii_case(name.trim())).unwrap_or_else(|| {
                let mut known: Vec<&str> = known().collect();
                known.sort_unstable();
                known.dedup();
                fail("TORTURE_WRITERS", format!("no type of writer `{}`; known are {}", name.trim(), known.join(", ")))
            })
        };
        names.split(',').map(find).collect()
    });
    let wants = |name: &str| wanted.as_ref().is_none_or(|wanted| wanted.contains(&name));
    let inserts = "OFFLINE_STORE_STREAMING_INSERT_WRITER";
    let of_history = match (&wanted, is_own) {
        (Some(wanted), _) if wanted.contains(&inserts) => &republish::ROLE,
        (Some(_), _) => &history::ROLE,
        // On servers of one's own there is one run alone, and this has more writers.
        (None, true) => &republish::ROLE,
        (None, false) => other_history,
    };
    let is_history = |role: &Role| [history::ROLE.name, republish::ROLE.name].contains(&role.name);
    let roles = ROLES.iter().copied().filter(|role| {
        if is_history(role) {
            role.name == of_history.name && role.writers.iter().any(|name| wants(name))
        } else {
            wants(role.writers[0])
        }
    });
    roles.collect()
}

/// What `TORTURE_STORES` says, as `online_store=Redis,offline_store=Postgres`.
fn asked_for() -> Vec<(StoreKind, Keeper)> {
    let Ok(text) = std::env::var("TORTURE_STORES") else { return Vec::new() };
    let one = |pair: &str| {
        let (field, name) = pair.split_once('=').unwrap_or((pair, ""));
        let kind = StoreKind::of_field(field.trim()).unwrap_or_else(|| {
            let fields = StoreKind::ALL.map(StoreKind::field).join(", ");
            fail("TORTURE_STORES", format!("no store `{}`; known are {fields}", field.trim()))
        });
        let known = Keeper::of_kind(kind);
        let keeper = known.iter().find(|keeper| keeper.name() == name.trim()).unwrap_or_else(|| {
            let names = known.iter().map(|keeper| keeper.name()).collect::<Vec<_>>().join(", ");
            fail("TORTURE_STORES", format!("{field} cannot be `{}`; it can be {names}", name.trim()))
        });
        (kind, *keeper)
    };
    text.split(',').map(one).collect()
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

#[test]
fn every_store_of_the_registry_and_every_role_comes_on_each_bus() {
    for run in 0..2 {
        for kind in StoreKind::ALL {
            for keeper in Keeper::of_kind(kind) {
                assert!(
                    (0..60).any(|seed| to(run, seed).stores[&kind] == keeper),
                    "{keeper:?} for {kind:?} in run {run}"
                );
            }
        }
        for role in ROLES {
            assert!(
                (0..60).any(|seed| to(run, seed).roles.iter().any(|dealt| dealt.name == role.name)),
                "{}",
                role.name
            );
        }
    }
}
