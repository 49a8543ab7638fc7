//! Bodies that are small on the bus and large once they are unpacked.

use bytes::Bytes;
use chalk_writer::bus::local::{LocalBus, Options};
use chalk_writer::bus::{Bus, BusError};
use chalk_writer::message::Outgoing;
use chalk_writer::result::unpack::Compression;

use crate::setup::{Deployment, Ended};

#[test]
fn bombs_are_buried_and_the_good_messages_between_them_stored() {
    const BOMBS: usize = 20;
    let folder = Deployment::new();
    folder.topics();
    // Twice what a message may come to by default.
    let packed = Bytes::from(Compression::Zstd.pack(&vec![b' '; 128 << 20]).expect("packed"));
    assert!(packed.len() < 1 << 20, "a bomb is small: {}", packed.len());
    let bomb = |number: usize| Outgoing {
        topic: "results".to_owned(),
        headers: [
            ("ce_id", format!("bomb-{number}").as_str()),
            ("content-type", "application/json"),
            ("content-encoding", "zstd"),
        ]
        .into_iter()
        .collect(),
        payload: Some(packed.clone()),
        ..Outgoing::default()
    };
    let bus = LocalBus::new(folder.path().join("chalk-bus.sqlite"), Options::default());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let publish = |folder: &Deployment, seed: &str| {
        let good =
            ["publish", "--config", "chalk.json", "--topic", "results", "--generate", "50", "--compress", "zstd"];
        folder.run(&[&good[..], &["--seed", seed]].concat()).ok();
    };
    let without = Deployment::new();
    without.topics();
    for seed in ["1", "2", "3"] {
        publish(&without, seed);
    }
    publish(&folder, "1");
    for (numbers, seed) in [(0..BOMBS / 2, "2"), (BOMBS / 2..BOMBS, "3")] {
        let bombs: Vec<Outgoing> = numbers.map(bomb).collect();
        runtime
            .block_on(async { Ok::<_, BusError>(bus.publisher().await?.publish(&bombs).await?) })
            .expect("published");
        publish(&folder, seed);
    }

    let drain = ["--type", "OFFLINE_WRITER", "--config", "chalk.json", "--listen", "off", "--drain"];
    let stopped = folder.run_with(&drain, &[("CHALK_WRITER__DLQ__MAX_CONSECUTIVE", "1")]);
    assert_eq!(stopped.code, Some(65), "{stopped:?}");
    // As the page for whoever is paged says.
    let budget = [("CHALK_WRITER__DLQ__MAX_RATIO", "1"), ("CHALK_WRITER__DLQ__MAX_CONSECUTIVE", "1000000")];
    let ended = folder.run_with(&drain, &budget);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let end = last(&ended);
    assert_eq!((&end["buried"], &end["acknowledged"], &end["left"]), (&20.into(), &170.into(), &0.into()), "{end}");
    let letters = folder.letters();
    assert_eq!(letters.len(), BOMBS);
    assert!(letters.iter().all(|letter| letter["class"] == "TOO_LARGE"), "{letters:?}");
    let expected = last(&without.run(&drain));
    assert!(expected["stored"].as_u64().is_some_and(|stored| stored > 150), "{expected}");
    assert_eq!(end["stored"], expected["stored"], "all rows of the good messages");
}

fn last(ended: &Ended) -> serde_json::Value {
    let line = ended.stderr.lines().rev().find(|line| line.contains("writer ends")).expect("a last line");
    serde_json::from_str(line).expect("logs are JSON")
}
