//! A group's positions as a person sees and moves them, while nobody is in the group.

use rusqlite::{Connection, OptionalExtension, params};

use super::file::Fault;
use super::{group, log};
use crate::bus::{BusError, GroupPosition, Step, Stepped};

/// How far a group is, partition by partition.
pub(super) fn positions(connection: &Connection, topic: &str, group: &str) -> Result<Vec<GroupPosition>, Fault> {
    let topic = log::topic(connection, topic)?;
    let positions = topic.partitions.iter().map(|log| {
        let committed = committed(connection, log.id, group)?;
        let earliest = log::earliest(connection, log)?;
        Ok(GroupPosition { partition: log.number, committed, earliest, end: log.end })
    });
    positions.collect()
}

/// Moves a position, in one transaction with the look at who is in the group.
///
/// Whoever owned the partition owns it no more, in a new generation: a member that was stopped for
/// longer than its lease and goes on now takes it again, and reads from the new position.
pub(super) fn step(connection: &Connection, step: &Step) -> Result<Stepped, Fault> {
    let topic = log::topic(connection, &step.topic)?;
    let log = topic.partitions.iter().find(|log| log.number == step.partition);
    let log = log.ok_or_else(|| BusError::NotFound(format!("{}/{}", step.topic, step.partition)))?;
    let members: i64 = connection.query_row(
        "SELECT count(*) FROM members WHERE topic = ?1 AND group_name = ?2 AND lease_until_ms >= ?3",
        params![topic.id, step.group, group::now_ms()],
        |row| row.get(0),
    )?;
    if members > 0 {
        return Ok(Stepped::InUse);
    }
    let position = committed(connection, log.id, &step.group)?.map_or_else(|| log::earliest(connection, log), Ok)?;
    if position != step.from {
        return Ok(Stepped::Elsewhere(position));
    }
    if step.from != step.to {
        connection.execute(
            "INSERT INTO positions (partition, group_name, position) VALUES (?1, ?2, ?3)
             ON CONFLICT (partition, group_name)
             DO UPDATE SET position = excluded.position, owner = NULL, generation = generation + 1",
            params![log.id, step.group, step.to],
        )?;
    }
    Ok(Stepped::Done)
}

/// The committed position; `None` where the group was never there.
fn committed(connection: &Connection, partition: i64, group: &str) -> Result<Option<i64>, Fault> {
    Ok(connection
        .query_row(
            "SELECT position FROM positions WHERE partition = ?1 AND group_name = ?2",
            params![partition, group],
            |row| row.get(0),
        )
        .optional()?)
}
