//! `vectordotdev/vector#12084`: each member that joins a group has messages written twice. `#22006` and `#26438`: after a
//! rebalance some partitions are read no more, without a word. Here what is in hand is written and committed before
//! partitions move, so in a lake, which would show it, no row is there twice; and every partition is read to its end.

use serde_json::json;

use crate::kit::{On, PATIENCE, Plant, Writer, results};
use crate::lake::{Lake, lake};
use crate::setup::eventually;

const PARTITIONS: u32 = 12;
const A_STEP: u64 = 3_000;

#[test]
fn members_that_join_and_leave_double_nothing_and_no_partition_stops() {
    let lake_of = Lake::new();
    let config = json!({
        "environments": lake(lake_of.0.path()), "batch": {"max_rows": 100},
        // Nobody is taken for dead here, however busy the machine is.
        "kafka": {"session.timeout.ms": "45000"},
    });
    let plant = Plant::new(On::Kafka, PARTITIONS, "OFFLINE_WRITER", &config);
    let mut members: Vec<Writer> = Vec::new();
    let mut sent = 0;
    for wanted in [1, 2, 4, 3, 1, 3] {
        plant.publish(results(sent..sent + A_STEP));
        sent += A_STEP;
        // They come and go while it is read.
        while members.len() < wanted {
            members.push(plant.start());
        }
        while members.len() > wanted {
            members.remove(0).stop();
        }
        eventually(PATIENCE, "shared among them", || {
            members.iter().map(Writer::assigned).sum::<f64>() == f64::from(PARTITIONS)
        });
        plant.is_done();
        // Once more, now that the rebalance is over: to every partition of every member.
        plant.publish(results(sent..sent + u64::from(PARTITIONS)));
        sent += u64::from(PARTITIONS);
        plant.is_done();
    }
    members.into_iter().for_each(|member| drop(member.stop()));
    assert_eq!(lake_of.has_all(sent, &plant), 0, "rows that are there twice");
}
