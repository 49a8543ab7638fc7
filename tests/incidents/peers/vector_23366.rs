//! `vectordotdev/vector#23366`: a message for which no place can be told is marked as delivered. Here it is a dead letter with
//! its reason, and without a topic for those the writer stops at it.

use serde_json::json;

use crate::kit::{On, Plant, result, result_in, results};

fn plant() -> Plant {
    let environments = json!({"prod": {"online_store": {"uri": "sqlite:online.sqlite"}}});
    let plant = Plant::new(On::Local, 1, "ONLINE_WRITER", &json!({"environments": environments}));
    plant.publish(results(0..3));
    let of = |environment| result_in(environment, 3, &json!({"user.seq": 3}));
    plant.publish([of("prd"), of("")]);
    plant.publish([result(4, &json!({"no_namespace": 4}))]);
    plant.publish(results(5..8));
    plant
}

#[test]
fn a_message_whose_place_cannot_be_told_is_kept_with_its_reason() {
    let plant = plant();
    let ended = plant.drain();
    assert!(ended.stderr.contains("\"acknowledged\":9"), "{ended:?}");
    let letters = plant.letters();
    let place = |offset| format!("{}/0/{offset}", plant.topic);
    let found: Vec<_> = letters.iter().map(|(class, origin)| (class.as_str(), origin.clone())).collect();
    assert_eq!(found, [("UNKNOWN_ENVIRONMENT", place(3)), ("UNKNOWN_ENVIRONMENT", place(4)), ("DECODE", place(5))]);
}

#[test]
fn without_a_topic_for_dead_letters_the_writer_stops_at_it() {
    let plant = plant();
    plant.configure(&json!({"common_persistence_specs": {"kafka_dlq_topic": null}}));
    let ended = plant.folder.drain("ONLINE_WRITER");
    assert_eq!(ended.code, Some(65), "{ended:?}");
    assert!(ended.stderr.contains(&format!("{}/0/3: UNKNOWN_ENVIRONMENT", plant.topic)), "{ended:?}");
    assert!(plant.committed() <= 3);
}
