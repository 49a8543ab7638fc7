//! `vectordotdev/vector#12084`: each member that joins a group has messages written twice. `#22006` and `#26438`: after a
//! rebalance some partitions are read no more, without a word. Here what is in hand is written and committed before
//! partitions move, so in a lake, which would show it, no row is there twice; and every partition is read to its end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;

use crate::kit::{On, PATIENCE, Plant, Writer, results};
use crate::lake::{Lake, lake};
use crate::setup::eventually;

const PARTITIONS: u32 = 12;
/// Messages of one publish.
const A_PIECE: u64 = 1_000;
/// How far the group may be behind, so that there is always something to read, and never more than can be.
const BEHIND: u64 = 3_000;

/// Ends the publishing, also where the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn members_that_join_and_leave_double_nothing_and_no_partition_stops() {
    let lake_of = Lake::new();
    let config = json!({
        "environments": lake(lake_of.0.path()), "batch": {"max_rows": 20},
        // Nobody is taken for dead here, however busy the machine is.
        "kafka": {"session.timeout.ms": "45000"},
    });
    let plant = Plant::new(On::Kafka, PARTITIONS, "OFFLINE_WRITER", &config);
    let (sent, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let publish = || {
        let from = sent.fetch_add(A_PIECE, Ordering::Relaxed);
        plant.publish(results(from..from + A_PIECE));
    };
    std::thread::scope(|scope| {
        // They come and go while it is read.
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                if sent.load(Ordering::Relaxed) < plant.committed() as u64 + BEHIND {
                    publish();
                }
            }
        });
        let end = Over(&over);
        let mut members: Vec<Writer> = Vec::new();
        for wanted in [1, 2, 4, 3, 1, 3] {
            while members.len() < wanted {
                members.push(plant.start());
            }
            while members.len() > wanted {
                members.remove(0).stop();
            }
            eventually(PATIENCE, "shared among them", || {
                members.iter().map(Writer::assigned).sum::<f64>() == f64::from(PARTITIONS)
                    && members.iter().all(|member| member.assigned() > 0.0)
            });
            // Every partition of every member is read on.
            let ends: Vec<i64> = plant.positions().iter().map(|(_, end)| *end).collect();
            eventually(PATIENCE, "all that was there is committed", || {
                plant.positions().iter().zip(&ends).all(|((committed, _), end)| committed >= end)
            });
        }
        drop(end);
        for member in members {
            member.stop();
        }
    });
    plant.drain();
    assert_eq!(lake_of.has_all(sent.into_inner(), &plant), 0, "rows that are there twice");
}
