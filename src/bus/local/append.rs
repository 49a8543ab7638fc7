//! Putting messages at the ends of their partitions, within a transaction of the caller's.

use std::collections::HashMap;

use rusqlite::Connection;

use super::file::Fault;
use super::log::{self, Topic};
use super::{partitioner, size};
use crate::bus::{BusError, Placed};
use crate::message::{Outgoing, Partition};

/// Topics as they stand in a transaction, by name.
pub(super) type Topics = HashMap<String, Topic>;

/// Refuses a message above the limit before anything is asked of the file.
pub(super) fn check_size(message: &Outgoing, limit: usize) -> Result<(), BusError> {
    match size(message) {
        size if size > limit => {
            Err(BusError::TooLarge(format!("{size} bytes for topic {}, which takes {limit}", message.topic)))
        }
        _ => Ok(()),
    }
}

/// Loads the topic of a message and checks what it asks for.
pub(super) fn check(connection: &Connection, topics: &mut Topics, message: &Outgoing) -> Result<(), Fault> {
    if !topics.contains_key(&message.topic) {
        topics.insert(message.topic.clone(), log::topic(connection, &message.topic)?);
    }
    let count = topics[&message.topic].partitions.len();
    if let Some(number) = message.partition
        && usize::try_from(number).map_or(true, |number| number >= count)
    {
        let topic = &message.topic;
        return Err(BusError::NotFound(format!("{topic} has no partition {number}; it has 0 to {}", count - 1)).into());
    }
    Ok(())
}

/// Appends a message that was [checked](check); the ends of topics are to be [set](set_ends) afterwards.
pub(super) fn append(
    connection: &Connection,
    topics: &mut Topics,
    message: &Outgoing,
    turn: &mut usize,
    now_ms: i64,
) -> Result<Placed, Fault> {
    let topic = topics.get_mut(&message.topic).expect("`check` has loaded it");
    let number = partitioner::partition(message, topic.partitions.len(), turn);
    let offset = log::append(connection, &mut topic.partitions[number as usize], message, now_ms)?;
    Ok(Placed { partition: Partition { topic: topic.name.clone(), number }, offset })
}

/// Writes down the ends of all topics that were appended to.
pub(super) fn set_ends(connection: &Connection, topics: &Topics) -> Result<(), Fault> {
    for log in topics.values().flat_map(|topic| &topic.partitions) {
        log::set_end(connection, log)?;
    }
    Ok(())
}
