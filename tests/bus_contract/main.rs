//! The contract of a message bus, walked through by every bus that the program has.
//!
//! A case is an async function over a [`Harness`]; [`cases::CASES`] lists them by name, and one test per
//! bus runs them all. `BUS_CASE=<part of a name>` runs those whose names contain it.

// A test has no users: `pub` here only means that another module of the suite calls it.
#![allow(unreachable_pub)]

mod cases;
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
use harness::Harness;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_local_bus_keeps_the_contract() {
    run(Arc::new(local::Local::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mock_cluster_of_librdkafka_keeps_the_contract() {
    run(Arc::new(mock::Mock::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_keeps_the_contract() {
    run(Arc::new(kafka::Kafka::cooperative())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_keeps_the_contract_with_eager_assignment() {
    run(Arc::new(kafka::Kafka::eager())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_keeps_the_contract_with_assignment_by_the_broker() {
    run(Arc::new(kafka::Kafka::by_broker())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_emulator_of_pub_sub_keeps_the_contract() {
    run(Arc::new(pubsub::Pubsub::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_emulator_of_pub_sub_keeps_the_contract_with_confirmed_acknowledgements() {
    run(Arc::new(pubsub::Pubsub::exactly_once())).await;
}

/// Runs every case on a bus, some at a time, and fails with the names of all that failed.
pub async fn run(harness: Arc<dyn Harness>) {
    let _ = tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).try_init();
    let only = std::env::var("BUS_CASE").unwrap_or_default();
    let capabilities = harness.capabilities();
    let failures: Vec<String> = futures::stream::iter(
        CASES.iter().filter(|(name, _)| name.contains(&only) && cases::applies(name, &capabilities)),
    )
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
