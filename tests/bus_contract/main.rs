//! The contract of a message bus, walked through by every bus that the program has.
//!
//! A case is an async function over a [`Harness`]; [`cases::CASES`] lists them by name, each with what a bus must be able to do for it.
//! [`WALKED`] lists the buses, each with what it cannot do, and why: it is excused from the cases that need that, which is printed
//! and held against what the program says of the bus. One test per bus runs all others. `BUS_CASE=<part of a name>` runs those
//! whose names contain it.

// A test has no users: `pub` here only means that another module of the suite calls it.
#![allow(unreachable_pub)]

mod cases;
mod excuses;
mod fake;
mod harness;
mod kafka;
mod local;
mod member;
mod mock;
mod pubsub;

use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;

use cases::CASES;
use harness::{Harness, Lacks};

/// A bus under the suite.
pub struct Walked {
    /// Which bus of the program it is, as `bus_backend` names it.
    kind: &'static str,
    /// What it is called here.
    name: &'static str,
    /// Whether it only stands in for a server of that kind, and may do less than those.
    stands_in: bool,
    /// What it cannot do, and why.
    lacks: Lacks,
    /// Starts it, or finds the server that the test command has started.
    make: fn() -> Arc<dyn Harness>,
}

/// Every bus under the suite: one of each kind that the program has, at the least.
pub static WALKED: &[Walked] = &[
    Walked {
        kind: "LOCAL",
        name: "LOCAL",
        stands_in: false,
        lacks: local::LACKS,
        make: || Arc::new(local::Local::new()),
    },
    Walked {
        kind: "KAFKA",
        name: "KAFKA (mock)",
        stands_in: true,
        lacks: mock::LACKS,
        make: || Arc::new(mock::Mock::new()),
    },
    Walked {
        kind: "KAFKA",
        name: "KAFKA",
        stands_in: false,
        lacks: kafka::LACKS,
        make: || Arc::new(kafka::Kafka::cooperative()),
    },
    Walked {
        kind: "KAFKA",
        name: "KAFKA (eager)",
        stands_in: false,
        lacks: kafka::EAGER_LACKS,
        make: || Arc::new(kafka::Kafka::eager()),
    },
    Walked {
        kind: "KAFKA",
        name: "KAFKA (group.protocol=consumer)",
        stands_in: false,
        lacks: kafka::LACKS,
        make: || Arc::new(kafka::Kafka::by_broker()),
    },
    Walked {
        kind: "PUBSUB",
        name: "PUBSUB",
        stands_in: false,
        lacks: pubsub::LACKS,
        make: || Arc::new(pubsub::Pubsub::new()),
    },
    Walked {
        kind: "PUBSUB",
        name: "PUBSUB (exactly once)",
        stands_in: false,
        lacks: pubsub::LACKS,
        make: || Arc::new(pubsub::Pubsub::exactly_once()),
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_local_bus_keeps_the_contract() {
    walk("LOCAL").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mock_cluster_of_librdkafka_keeps_the_contract() {
    walk("KAFKA (mock)").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_keeps_the_contract() {
    walk("KAFKA").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_keeps_the_contract_with_eager_assignment() {
    walk("KAFKA (eager)").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_keeps_the_contract_with_assignment_by_the_broker() {
    walk("KAFKA (group.protocol=consumer)").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_emulator_of_pub_sub_keeps_the_contract() {
    walk("PUBSUB").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_emulator_of_pub_sub_keeps_the_contract_with_confirmed_acknowledgements() {
    walk("PUBSUB (exactly once)").await;
}

/// Runs every case on a bus that it is not excused from, some at a time, and fails with the names of all that failed.
async fn walk(name: &str) {
    let _ = tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).try_init();
    let walked = WALKED.iter().find(|walked| walked.name == name).expect("it is in the list");
    let harness = (walked.make)();
    let only = std::env::var("BUS_CASE").unwrap_or_default();
    let capabilities = harness.capabilities();
    assert_eq!((harness.name(), capabilities.lacks), (walked.name, walked.lacks), "the list says what it is");
    excuses::hold(walked, &harness).await;
    let mut theirs = Vec::new();
    for (name, needs, case) in CASES.iter().filter(|(name, ..)| name.contains(&only)) {
        match excuses::why(needs, walked.lacks) {
            Some(why) => println!("{} {name}: excused, for {why}", harness.name()),
            None => theirs.push((name, case)),
        }
    }
    let failures: Vec<String> = futures::stream::iter(theirs)
        .map(|(name, case)| {
            let harness = harness.clone();
            async move {
                let start = Instant::now();
                let task = tokio::spawn(case(harness.clone()));
                let abort = task.abort_handle();
                let failure = match tokio::time::timeout(capabilities.patience * 6, task).await {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(reason(error)),
                    Err(_) => {
                        abort.abort();
                        Some("did not end in time".to_owned())
                    }
                };
                let outcome = failure.as_deref().unwrap_or("ok");
                println!("{} {name}: {outcome} ({} ms)", harness.name(), start.elapsed().as_millis());
                failure.map(|failure| format!("{name}: {failure}"))
            }
        })
        .buffer_unordered(capabilities.cases_at_once)
        .filter_map(|failure| async { failure })
        .collect()
        .await;
    assert!(failures.is_empty(), "{} breaks the contract:\n{}", harness.name(), failures.join("\n"));
}

fn reason(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()))
            .unwrap_or_else(|| "panicked".to_owned()),
        Err(error) => error.to_string(),
    }
}
