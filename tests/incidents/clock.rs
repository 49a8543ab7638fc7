//! The machine's clock is set back under a running writer, as by NTP after a host was paused.

use std::time::Duration;

use serde_json::json;

use crate::kit::{On, PATIENCE, Plant, results};
use crate::setup::eventually;
use crate::told::Clock;

/// librdkafka would sleep for the hour: the writer says so and ends, and the next one goes on where it was.
#[test]
fn on_kafka_a_writer_ends_by_itself_and_the_next_one_goes_on() {
    let config = json!({"environments": {"prod": {"online_store": {"uri": "sqlite:online.sqlite"}}}});
    let plant = Plant::new(On::Kafka, 4, "ONLINE_WRITER", &config);
    let clock = Clock::new(plant.folder.path());
    let arguments = ["--type", "ONLINE_WRITER", "--config", "chalk.json", "--listen", "127.0.0.1:0"];
    let writer = plant.folder.start_with(&arguments, |command| clock.rules(command));
    plant.publish(results(0..100));
    plant.is_done();
    clock.set(-60);
    let ended = writer.wait(PATIENCE);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("the clock was set back by 3"), "{ended:?}");
    plant.publish(results(100..200));
    let next = plant.start();
    plant.is_done();
    let ended = next.stop();
    assert!(ended.stderr.contains("\"stored\":100"), "{ended:?}");
}

/// The embedded bus waits by no clock that can be set.
#[test]
fn on_the_embedded_bus_a_writer_goes_on() {
    let config = json!({"environments": {"prod": {"online_store": {"uri": "sqlite:online.sqlite"}}}});
    let plant = Plant::new(On::Local, 4, "ONLINE_WRITER", &config);
    let clock = Clock::new(plant.folder.path());
    let arguments = ["--type", "ONLINE_WRITER", "--config", "chalk.json", "--listen", "127.0.0.1:0"];
    let writer = plant.folder.start_with(&arguments, |command| clock.rules(command));
    plant.publish(results(0..100));
    plant.is_done();
    clock.set(-60);
    // Longer than it takes to be seen, and to be found out.
    std::thread::sleep(Duration::from_secs(5));
    plant.publish(results(100..200));
    plant.is_done();
    eventually(PATIENCE, "all is committed", || plant.committed() == 200);
    writer.terminate();
    assert_eq!(writer.wait(PATIENCE).code, Some(0));
}
