//! A rolling restart of members with names of their own (`group.instance.id`): each comes back to its partitions, the others do
//! not notice, and nothing is read twice.

use serde_json::json;

use crate::kit::{On, PATIENCE, Plant, Writer, results};
use crate::lake::{Lake, lake};
use crate::setup::eventually;

const PARTITIONS: u32 = 9;
const MEMBERS: usize = 3;
const A_STEP: u64 = 1_500;

/// Restarts each member in turn under load: how often partitions were taken from the others, and rows that are there twice.
fn rolling_restart(named: bool) -> (f64, usize) {
    let lake_of = Lake::new();
    let config = json!({
        "environments": lake(lake_of.0.path()), "batch": {"max_rows": 100},
        // Longer than a restart takes, as it has to be.
        "kafka": {"session.timeout.ms": "45000"},
    });
    let plant = Plant::new(On::Kafka, PARTITIONS, "OFFLINE_WRITER", &config);
    let start = |at: usize| {
        let file = format!("chalk-{at}.json");
        let mut config: serde_json::Value = serde_json::from_str(&plant.folder.text("chalk.json")).expect("JSON");
        if named {
            config["kafka"]["group.instance.id"] = json!(format!("member-{at}"));
        }
        plant.folder.write(&file, &config.to_string());
        plant.start_by(&file)
    };
    let mut members: Vec<Writer> = (0..MEMBERS).map(start).collect();
    let shared = |members: &[Writer]| members.iter().all(|member| member.assigned() == 3.0);
    eventually(PATIENCE, "shared among them", || shared(&members));
    let mut sent = 0;
    let mut publish = || {
        plant.publish(results(sent..sent + A_STEP));
        sent += A_STEP;
    };
    let (mut taken, handovers) = (0.0, "chalk_writer_handovers_total");
    for at in 0..MEMBERS {
        let before: Vec<_> = members.iter().map(|member| (member.metric(handovers, ""), member.partitions())).collect();
        publish();
        let restarted = members.remove(at);
        restarted.stop();
        publish();
        members.insert(at, start(at));
        plant.is_done();
        eventually(PATIENCE, "shared among them again", || shared(&members));
        for (other, (count, partitions)) in before.iter().enumerate() {
            let now = (members[other].metric(handovers, ""), members[other].partitions());
            if other != at {
                taken += now.0 - count;
            }
            assert!(!named || now.1 == *partitions, "member {other} has what it had");
        }
    }
    for member in members {
        member.stop();
    }
    (taken, lake_of.has_all(sent, &plant))
}

#[test]
fn a_rolling_restart_of_named_members_moves_no_partition_of_the_others_and_doubles_nothing() {
    assert_eq!(rolling_restart(true), (0.0, 0));
}

/// That the numbers above can be others: without names every restart moves partitions. In time, so that nothing is read twice.
#[test]
fn a_rolling_restart_of_others_moves_partitions_and_doubles_nothing() {
    let (taken, doubled) = rolling_restart(false);
    println!("partitions were taken from members that go on {taken} times");
    assert!(taken > 0.0);
    assert_eq!(doubled, 0);
}
