//! What `doctor` asks of the embedded bus.

use async_trait::async_trait;
use rusqlite::params;

use super::file::BusFile;
use super::{LocalBus, blocking, group, log, no_file};
use crate::bus::BusError;
use crate::bus::inspect::{Inspect, Member, Members, Takes};

#[async_trait]
impl Inspect for LocalBus {
    async fn members(&self, group: &str) -> Result<Members, BusError> {
        let (path, group) = (self.path.clone(), group.to_owned());
        blocking(move || {
            let file = BusFile::open(&path)?.ok_or_else(|| no_file(&group, &path))?;
            let members = file.read(|connection| {
                let mut statement = connection.prepare(
                    "SELECT m.id, t.name FROM members m JOIN topics t ON t.id = m.topic
                     WHERE m.group_name = ?1 AND m.lease_until_ms >= ?2 ORDER BY m.number",
                )?;
                let rows = statement.query_map(params![group, group::now_ms()], |row| {
                    Ok(Member { id: row.get(0)?, host: None, topics: vec![row.get(1)?], program: None })
                })?;
                Ok(rows.collect::<Result<Vec<_>, _>>()?)
            })?;
            Ok(Members { members, state: String::new() })
        })
        .await
    }

    async fn takes(&self, topic: &str) -> Result<Takes, BusError> {
        let (path, topic) = (self.path.clone(), topic.to_owned());
        blocking(move || {
            let mut file = BusFile::open(&path)?.ok_or_else(|| no_file(&topic, &path))?;
            file.read(|connection| log::topic(connection, &topic))?;
            file.write(|_| Ok(()))?;
            Ok(Takes::Yes("a transaction was begun in its file, with nothing in it"))
        })
        .await
    }
}
