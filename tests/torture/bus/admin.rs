//! What is asked of brokers beside messages: topics are made and deleted, groups deleted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use crate::own::Access;

/// How long the broker may take to answer the checker. It bounds a hang and nothing else.
pub(super) const ANSWERS_WITHIN: Duration = Duration::from_secs(120);

/// How long brokers of somebody else may take to say anything at all.
pub(super) const SAYS_WITHIN: Duration = Duration::from_secs(15);

/// Asks again while the broker comes back.
pub(super) fn answer<T, E: std::fmt::Display>(what: &str, mut ask: impl FnMut() -> Result<T, E>) -> T {
    let begun = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error) if begun.elapsed() > ANSWERS_WITHIN => panic!("{what}: {error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

pub(super) fn create_topics(access: &Access, copies: i32, prefix: &str, topics: &BTreeMap<&'static str, i32>) {
    answer("topics cannot be made", || try_to_create_topics(access, copies, prefix, topics));
}

pub(super) fn try_to_create_topics(
    access: &Access,
    copies: i32,
    prefix: &str,
    topics: &BTreeMap<&'static str, i32>,
) -> Result<(), String> {
    let admin: AdminClient<_> = access.client().create().map_err(|error: KafkaError| error.to_string())?;
    let named: Vec<(String, i32)> =
        topics.iter().map(|(name, partitions)| (format!("{prefix}{name}"), *partitions)).collect();
    let new: Vec<NewTopic<'_>> = named
        .iter()
        .map(|(name, partitions)| NewTopic::new(name, *partitions, TopicReplication::Fixed(copies)))
        .collect();
    // What the broker has done although its answer was late is there already.
    let is_there = |made: &Result<String, (String, RDKafkaErrorCode)>| {
        matches!(made, Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)))
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    let made = runtime.block_on(admin.create_topics(&new, &options)).map_err(|error| error.to_string())?;
    match made.iter().find(|made| !is_there(made)) {
        None => Ok(()),
        Some(Err((name, error))) => Err(format!("`{name}`: {error}")),
        Some(Ok(name)) => Err(name.clone()),
    }
}

/// Deletes those of a run; what is left is said.
pub(super) fn remove_topics(access: &Access, prefix: &str, topics: impl Iterator<Item = &'static str>) {
    let Ok(admin) = access.client().create::<AdminClient<_>>() else { return };
    let names: Vec<String> = topics.map(|name| format!("{prefix}{name}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match runtime.block_on(admin.delete_topics(&names, &options)) {
        Err(error) => eprintln!("torture: topics that begin with `{prefix}` are left: {error}"),
        Ok(removed) => {
            for (name, error) in removed.into_iter().filter_map(Result::err) {
                if error != RDKafkaErrorCode::UnknownTopicOrPartition {
                    eprintln!("torture: topic `{name}` is left: {error}");
                }
            }
        }
    }
}

/// Deletes groups that nobody is in any more; what is left is said.
pub(super) fn remove_groups<'a>(access: &Access, groups: impl Iterator<Item = &'a str>) {
    let Ok(admin) = access.client().create::<AdminClient<_>>() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let begun = Instant::now();
    // One whose members were killed has them until their sessions are over.
    let mut left: Vec<&str> = groups.collect();
    while !left.is_empty() {
        let removed = runtime.block_on(admin.delete_groups(&left, &AdminOptions::new()));
        let still: Vec<(String, RDKafkaErrorCode)> =
            removed.map(|removed| removed.into_iter().filter_map(Result::err).collect()).unwrap_or_default();
        left.retain(|group| {
            still.iter().any(|(name, error)| name == group && *error == RDKafkaErrorCode::NonEmptyGroup)
        });
        if begun.elapsed() > SAYS_WITHIN {
            eprintln!("torture: groups are left: {}", left.join(", "));
            return;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
