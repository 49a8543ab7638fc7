//! Consumer groups in the database: leases, shares, generations and positions.
//!
//! A member proves that it lives by renewing a lease. Whoever renews also buries the dead and shares the
//! partitions out again: `wanted` says who shall have one, `owner` who has it. A partition goes from one to
//! the other through no owner at all, so nobody takes what its holder has not let go, unless that holder's
//! lease ran out. Each taking raises the partition's generation, and a position moves only for the owner in
//! its generation, checked in the very statement that moves it: a process that was stopped for a minute and
//! goes on cannot commit for what it lost meanwhile.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, params};

use super::assign;
use super::file::Fault;
use super::log::Log;

/// A member of a group that reads a topic.
pub(super) struct Membership {
    pub(super) topic: i64,
    pub(super) group: String,
    pub(super) member: String,
    pub(super) session_timeout: Duration,
}

/// A partition as a member sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) log: Log,
    /// The group's committed position.
    pub(super) committed: i64,
    /// The generation in which this member owns it; `None` where it does not.
    pub(super) owned: Option<i64>,
    /// Whether this member shall have it.
    pub(super) wanted: bool,
    /// Whether nobody has it.
    pub(super) free: bool,
}

/// A position to be moved, by the owner in its generation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Commit {
    pub(super) partition: i64,
    pub(super) generation: i64,
    pub(super) position: i64,
}

/// Milliseconds since 1970: the one clock that all processes of the machine share.
///
/// A clock that is set forward takes partitions away too early, which costs a repetition; one that is set
/// back keeps a dead member's lease no longer than a session, because leases are cut to that.
pub(super) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

impl Membership {
    /// Every partition of the topic as it stands.
    pub(super) fn look(&self, connection: &Connection) -> Result<Vec<Share>, Fault> {
        let mut statement = connection.prepare_cached(
            "SELECT p.id, p.number, p.next_offset, coalesce(g.position, 0), g.owner, g.generation, g.wanted
             FROM partitions p LEFT JOIN positions g ON g.partition = p.id AND g.group_name = ?2
             WHERE p.topic = ?1 ORDER BY p.number",
        )?;
        let is_me = |name: Option<&str>| name == Some(self.member.as_str());
        let shares = statement.query_map(params![self.topic, self.group], |row| {
            let owner = row.get_ref(4)?.as_str_or_null()?;
            let wanted = row.get_ref(6)?.as_str_or_null()?;
            let generation: Option<i64> = row.get(5)?;
            Ok(Share {
                log: Log { id: row.get(0)?, number: row.get(1)?, end: row.get(2)? },
                committed: row.get(3)?,
                owned: generation.filter(|_| is_me(owner)),
                wanted: is_me(wanted),
                free: owner.is_none(),
            })
        })?;
        Ok(shares.collect::<Result<_, _>>()?)
    }

    /// Renews the lease, or joins; shares out; takes what is free and due. Needs a transaction.
    pub(super) fn beat(&self, connection: &Connection) -> Result<Vec<Share>, Fault> {
        let (now, session) = (now_ms(), self.session_timeout.as_millis() as i64);
        connection
            .prepare_cached(
                "INSERT INTO members (id, topic, group_name, lease_until_ms, session_ms) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (id) DO UPDATE SET lease_until_ms = excluded.lease_until_ms",
            )?
            .execute(params![self.member, self.topic, self.group, now + session, session])?;
        connection
            .prepare_cached(
                "INSERT OR IGNORE INTO positions (partition, group_name)
                 SELECT id, ?2 FROM partitions WHERE topic = ?1",
            )?
            .execute(params![self.topic, self.group])?;
        self.rebalance(connection, now)?;
        connection
            .prepare_cached(
                "UPDATE positions SET owner = ?3, generation = generation + 1
                 WHERE group_name = ?2 AND owner IS NULL AND wanted = ?3
                   AND partition IN (SELECT id FROM partitions WHERE topic = ?1)",
            )?
            .execute(params![self.topic, self.group, self.member])?;
        self.look(connection)
    }

    /// Buries members whose lease ran out and shares the partitions out to the living.
    fn rebalance(&self, connection: &Connection, now: i64) -> Result<(), Fault> {
        let group = params![self.topic, self.group];
        connection
            .prepare_cached(
                "UPDATE members SET lease_until_ms = ?3 + session_ms
                 WHERE topic = ?1 AND group_name = ?2 AND lease_until_ms > ?3 + session_ms",
            )?
            .execute(params![self.topic, self.group, now])?;
        connection
            .prepare_cached("DELETE FROM members WHERE topic = ?1 AND group_name = ?2 AND lease_until_ms < ?3")?
            .execute(params![self.topic, self.group, now])?;
        connection
            .prepare_cached(
                "UPDATE positions SET owner = NULL
                 WHERE group_name = ?2 AND owner IS NOT NULL
                   AND partition IN (SELECT id FROM partitions WHERE topic = ?1)
                   AND owner NOT IN (SELECT id FROM members WHERE topic = ?1 AND group_name = ?2)",
            )?
            .execute(group)?;
        let members: Vec<String> = connection
            .prepare_cached("SELECT id FROM members WHERE topic = ?1 AND group_name = ?2 ORDER BY number")?
            .query_map(group, |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let before: Vec<(i64, Option<String>)> = connection
            .prepare_cached(
                "SELECT g.partition, g.wanted FROM positions g JOIN partitions p ON p.id = g.partition
                 WHERE p.topic = ?1 AND g.group_name = ?2 ORDER BY p.number",
            )?
            .query_map(group, |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let (partitions, before): (Vec<i64>, Vec<Option<String>>) = before.into_iter().unzip();
        let after = assign::share(&members, &before);
        let mut set =
            connection.prepare_cached("UPDATE positions SET wanted = ?3 WHERE partition = ?1 AND group_name = ?2")?;
        for ((partition, before), after) in partitions.iter().zip(&before).zip(&after) {
            if before != after {
                set.execute(params![partition, self.group, after])?;
            }
        }
        Ok(())
    }

    /// Moves positions on, each only if this member still owns it in that generation. Needs a transaction.
    pub(super) fn commit(&self, connection: &Connection, commits: &[Commit]) -> Result<(), Fault> {
        let mut statement = connection.prepare_cached(
            "UPDATE positions SET position = ?5
             WHERE partition = ?1 AND group_name = ?2 AND owner = ?3 AND generation = ?4 AND position < ?5",
        )?;
        for Commit { partition, generation, position } in commits {
            statement.execute(params![partition, self.group, self.member, generation, position])?;
        }
        Ok(())
    }

    /// Leaves partitions without an owner, for whoever shall have them. Needs a transaction.
    pub(super) fn let_go(&self, connection: &Connection, partitions: &[(i64, i64)]) -> Result<(), Fault> {
        let mut statement = connection.prepare_cached(
            "UPDATE positions SET owner = NULL
             WHERE partition = ?1 AND group_name = ?2 AND owner = ?3 AND generation = ?4",
        )?;
        for (partition, generation) in partitions {
            statement.execute(params![partition, self.group, self.member, generation])?;
        }
        Ok(())
    }

    /// Leaves the group and shares its partitions out to the others. Needs a transaction.
    pub(super) fn leave(&self, connection: &Connection) -> Result<(), Fault> {
        connection.prepare_cached("DELETE FROM members WHERE id = ?1")?.execute([&self.member])?;
        self.rebalance(connection, now_ms())
    }
}

/// The committed position of a group in a partition; 0 where it has none.
pub(super) fn committed(connection: &Connection, partition: i64, group: &str) -> Result<i64, Fault> {
    Ok(connection
        .prepare_cached("SELECT coalesce(max(position), 0) FROM positions WHERE partition = ?1 AND group_name = ?2")?
        .query_row(params![partition, group], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::bus::local::file::BusFile;
    use crate::bus::local::log;

    struct Two {
        _folder: TempDir,
        files: [BusFile; 2],
        members: [Membership; 2],
    }

    /// Two members of a group over one topic of two partitions, each on a connection of its own.
    fn two(session_timeout: Duration) -> Two {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("bus.sqlite");
        let mut files = [0; 2].map(|_| BusFile::create(&path).expect("opened"));
        files[0].write(|connection| log::create_topic(connection, "t", 2)).expect("made");
        let topic = files[0].read(|connection| log::topic(connection, "t")).expect("there").id;
        let members = ["a", "b"].map(|member| Membership {
            topic,
            group: "g".to_owned(),
            member: member.to_owned(),
            session_timeout,
        });
        Two { _folder: folder, files, members }
    }

    impl Two {
        fn beat(&mut self, index: usize) -> Vec<Share> {
            let Self { files, members, .. } = self;
            files[index].write(|connection| members[index].beat(connection)).expect("beaten")
        }

        fn commit(&mut self, index: usize, share: &Share, position: i64) {
            let Self { files, members, .. } = self;
            let commit = Commit { partition: share.log.id, generation: share.owned.expect("owned once"), position };
            files[index].write(|connection| members[index].commit(connection, &[commit])).expect("done");
        }

        fn position(&self, share: &Share) -> i64 {
            self.files[0].read(|connection| committed(connection, share.log.id, "g")).expect("read")
        }
    }

    fn owned(shares: &[Share]) -> Vec<i32> {
        shares.iter().filter(|share| share.owned.is_some()).map(|share| share.log.number).collect()
    }

    #[test]
    fn a_member_waits_for_the_holder_to_let_go() {
        let mut two = two(Duration::from_secs(60));
        assert_eq!(owned(&two.beat(0)), [0, 1]);
        assert!(owned(&two.beat(1)).is_empty());
        let shares = two.beat(0);
        let going = shares.iter().find(|share| !share.wanted).expect("one shall go");
        let Two { files, members, .. } = &mut two;
        let gone = (going.log.id, going.owned.expect("still owned"));
        files[0].write(|connection| members[0].let_go(connection, &[gone])).expect("done");
        assert_eq!(owned(&two.beat(0)), [1 - going.log.number]);
        assert_eq!(owned(&two.beat(1)), [going.log.number]);
    }

    #[test]
    fn a_position_moves_only_for_the_owner_in_its_generation() {
        let mut two = two(Duration::ZERO);
        let before = two.beat(0);
        two.commit(0, &before[0], 5);
        assert_eq!(two.position(&before[0]), 5);
        // A lease of no length has run out a moment later: the other member buries this one.
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(owned(&two.beat(1)), [0, 1]);
        two.commit(0, &before[0], 7);
        assert_eq!(two.position(&before[0]), 5);
        // Owned again in a later generation, the old one's commits still count for nothing.
        std::thread::sleep(Duration::from_millis(2));
        let after = two.beat(0);
        two.commit(0, &before[0], 8);
        assert_eq!(two.position(&before[0]), 5);
        two.commit(0, &after[0], 9);
        two.commit(0, &after[0], 6);
        assert_eq!(two.position(&before[0]), 9);
    }

    #[test]
    fn a_lease_far_ahead_of_the_clock_is_cut_to_a_session() {
        let mut two = two(Duration::from_millis(1));
        two.beat(0);
        let far = now_ms() + 3_600_000;
        two.files[0]
            .write(|connection| Ok(connection.execute("UPDATE members SET lease_until_ms = ?1", [far])?))
            .expect("set");
        two.beat(1);
        std::thread::sleep(Duration::from_millis(3));
        assert_eq!(owned(&two.beat(1)), [0, 1]);
    }
}
