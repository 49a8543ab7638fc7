//! Destinations: away, slow, unsure, restarted, replaced, full.

use super::Change;
use super::circumstances::{Circumstances, lasting, stronger, weaker};
use super::fault::Fault;
use super::judged::{DELAYED, Judged, LOST, anywhere};
use super::kept::Kept;
use super::may::{Effect, May};
use crate::config::units::show_duration;
use crate::store::durability::Durability;
use crate::writer::doubles::Repetition;

pub(super) fn of_stores(fault: Fault, around: &Circumstances<'_>) -> Judged {
    let (policy, tuning) = (around.policy, around.tuning);
    if around.facts.sheds {
        return sheds(fault, around);
    }
    // What is parked is read back as another message would be, and expires there as anywhere.
    let unsure = || {
        if tuning.park_after.is_some() {
            around.repeated(DELAYED.or(LOST), Repetition::Delivery)
        } else {
            around.repeated(DELAYED, Repetition::Write)
        }
    };
    match fault {
        Fault::StoreAway => Judged {
            because: match tuning.park_after {
                Some(after) => {
                    format!("{}; after {} what is for it is moved aside", around.retries(), show_duration(after))
                }
                None => around.retries(),
            },
            there: unsure(),
            changes: vec![stronger("retry.max_pause", lasting(tuning.retry_max_pause), "shorter: it is found sooner")],
        },
        Fault::OneStoreAway if around.kept.len() < 2 => Judged {
            because: "there is one destination".to_owned(),
            there: anywhere(around, May::NOTHING),
            changes: Vec::new(),
        },
        Fault::OneStoreAway if tuning.park_after.is_some() => Judged {
            because: format!(
                "after {} what is for it alone is moved to `{}`, confirmed, and comes back once it answers; the others \
                 wait no longer than that",
                tuning.park_after.map(show_duration).unwrap_or_default(),
                tuning.parking_topic.as_deref().unwrap_or_default()
            ),
            there: unsure(),
            changes: vec![
                stronger("park_after", tuning.park_after.and_then(lasting), "shorter: the others go on sooner"),
                weaker(
                    "retention of the parking topic",
                    None,
                    "shorter than a store may be away: what expires there is lost",
                ),
            ],
        },
        Fault::OneStoreAway => Judged {
            because: format!(
                "a batch is acknowledged when each destination has its rows, so the others wait as well, at the latest \
                 after {} batches",
                policy.in_flight + 1
            ),
            there: unsure(),
            changes: vec![
                stronger(
                    "park_after, parking_topic",
                    None,
                    "what is for it alone is moved aside, and the others go on",
                ),
                stronger(
                    "name, environments",
                    None,
                    "a file of its own for an environment, in which the others have no store, and a writer of another \
                     name: they wait for one another no longer",
                ),
            ],
        },
        Fault::StoreSlow => Judged {
            because: format!(
                "up to {} requests at a time, halved whenever it asks for less; memory stays bounded, because reading \
                 waits",
                policy.concurrency
            ),
            there: anywhere(around, DELAYED),
            changes: vec![stronger(
                "message_processing_concurrency",
                Some(policy.concurrency.to_string()),
                "more: hides round trips, where the store has room",
            )],
        },
        Fault::StoreUnsure => Judged {
            because:
                "the same rows are sent under the same id until it is known what became of them; a time-out never \
                      buries"
                    .to_owned(),
            there: unsure(),
            changes: keys_of_rows(around).into_iter().collect(),
        },
        Fault::StoreRestarted => Judged {
            because: "what was not acknowledged is sent again; what was acknowledged is where the store keeps it"
                .to_owned(),
            there: around.there(|kept| keeps(around, kept, false)),
            changes: memory(around, "appendfsync (Redis)", "`always`: a crash of the server loses nothing"),
        },
        Fault::StoreFailover => Judged {
            because: "what was acknowledged is there when the replica had it".to_owned(),
            there: around.there(|kept| keeps(around, kept, true)),
            changes: failover(around),
        },
        Fault::StoreFull => Judged {
            because: around.retries(),
            there: around.there(|kept| match kept.durability {
                Some(Durability::ServersMemory) => (
                    DELAYED.or(LOST),
                    "with a `maxmemory-policy` other than `noeviction` it removes entities instead (`doctor` tells)"
                        .to_owned(),
                ),
                _ => (DELAYED, String::new()),
            }),
            changes: memory(around, "maxmemory-policy (Redis)", "`noeviction`: it refuses, and the writer waits"),
        },
        _ => {
            let stuck: Vec<&str> = around
                .kept
                .iter()
                .filter(|kept| kept.is_store && !kept.reads_credentials_again)
                .map(|kept| kept.name.as_str())
                .collect();
            let because = "what is denied is tried again without end, with credentials read again; it is never dropped \
                           and never buried";
            let because = if stuck.is_empty() {
                because.to_owned()
            } else {
                format!(
                    "{because}. Those of {} stand in the file or in the environment: a restart reads them",
                    stuck.join(", ")
                )
            };
            let change = "`FILE`, `AWS` or `GCP`, and `secret:NAME` for URIs: a rotation needs no restart";
            Judged {
                because,
                there: unsure(),
                changes: (!stuck.is_empty())
                    .then(|| stronger("common_persistence_specs.secret_client", None, change))
                    .into_iter()
                    .collect(),
            }
        }
    }
}

/// Trouble of a server that is never waited for.
fn sheds(fault: Fault, around: &Circumstances<'_>) -> Judged {
    let none = |because: &str| Judged {
        because: because.to_owned(),
        there: anywhere(around, May::NOTHING),
        changes: Vec::new(),
    };
    match fault {
        Fault::OneStoreAway => none("there is one destination"),
        Fault::StoreRestarted | Fault::StoreFailover | Fault::StoreFull => none("nothing is stored there"),
        _ => Judged {
            because:
                "a query that the server has no room for now, or does not answer, is shed: counted, never queued, \
                      never asked twice"
                    .to_owned(),
            there: anywhere(around, LOST),
            changes: vec![stronger(
                "mirror.max_per_second, mirror.sample_ratio",
                None,
                "less: the server has room for it",
            )],
        },
    }
}

/// Where some rows have nothing that they are known by.
fn keys_of_rows(around: &Circumstances<'_>) -> Option<Change> {
    let some = around.kept.iter().any(|kept| kept.doubles.as_ref().is_ok_and(|doubles| doubles.only_some()));
    let change = "a column `__observation_id__` or `observation_id`, or `writemode: upsert`: a row is there once";
    some.then(|| stronger("streaming inserts (messages)", None, change))
}

/// What becomes of acknowledged rows when a server ends, or is replaced.
fn keeps(around: &Circumstances<'_>, kept: &Kept, replaced: bool) -> (May, String) {
    let there = around.repeated(DELAYED, Repetition::Write);
    let may = there.iter().find(|one| one.destination == kept.name).map_or(DELAYED, |one| one.may);
    let (lost, because) = match (kept.durability, replaced) {
        _ if !kept.is_store => (false, "it is on the bus, see there".to_owned()),
        (Some(Durability::OwnDisk), false) => (false, "rows are on the disk before they are acknowledged".to_owned()),
        (Some(Durability::OwnDisk), true) => return (May::NOTHING, "it has no replica".to_owned()),
        (Some(Durability::ServersDisk), false) => {
            (false, "a commit waits for the server's disk (`synchronous_commit`, which the writer turns on)".to_owned())
        }
        (Some(Durability::ServersDisk), true) => {
            (true, "unless `synchronous_standby_names` of the server has the replica".to_owned())
        }
        (Some(Durability::ServersMemory), false) => {
            (true, "the server has them in memory: what `appendfsync` had not brought to the disk is gone".to_owned())
        }
        (Some(Durability::ServersMemory), true) => match kept.wait_replicas {
            0 => (true, "what the replica had not got yet is gone".to_owned()),
            wanted => (false, format!("where the new one is among the {wanted} that had each write (`wait_replicas`)")),
        },
        (Some(Durability::Nowhere), _) => (true, String::new()),
        (None, _) => {
            let why = kept.doubles.as_ref().err().map_or_else(String::new, |error| format!(": {error}"));
            (true, format!("it is not known which store it is{why}"))
        }
    };
    (may.with(Effect::Lost, lost), because)
}

/// A change of servers that keep rows in memory, where there are some.
fn memory(around: &Circumstances<'_>, setting: &str, change: &str) -> Vec<Change> {
    let some = around.kept.iter().any(|kept| kept.durability == Some(Durability::ServersMemory));
    some.then(|| stronger(setting, None, change)).into_iter().collect()
}

fn failover(around: &Circumstances<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    for kept in around.kept {
        changes.extend(match kept.durability {
            Some(Durability::ServersMemory) => Some(stronger(
                "environments.<id>.online_store.wait_replicas",
                Some(kept.wait_replicas.to_string()),
                "1 or more: a write counts when so many replicas have it",
            )),
            Some(Durability::ServersDisk) => {
                Some(stronger("synchronous_standby_names (Postgres)", None, "names the standby: a commit waits for it"))
            }
            _ => None,
        });
    }
    changes.dedup();
    changes
}
