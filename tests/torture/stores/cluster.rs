//! A Redis Cluster of three nodes, each with a replica: slots move, and a node dies for its replica to take over.
//!
//! A failover keeps what a replica has, so the writer waits for one (`wait_replicas`). Stalled, every node takes no
//! writes and goes on otherwise: one that were stopped by a signal would be taken for dead by the others.

use super::{Online, Store, Trouble, look};
use crate::keepers::Keeper;
use crate::redis::RedisServer;
use crate::redis_cluster::{RedisCluster, ok};
use crate::sent::ENTITIES;

/// Entities whose slots move at once.
const MOVES: u64 = 20;

pub struct Cluster {
    cluster: RedisCluster,
    trouble: Option<Under>,
}

/// What is under way.
enum Under {
    /// Slots on their way: slot, from, to.
    Moving(Vec<(u16, usize, usize)>),
    /// A node that was killed.
    Dead(usize),
}

impl Cluster {
    pub fn start() -> Self {
        // Acknowledged means on disk, as with one server. A node that is slow for a moment is not dead yet.
        let settings = ["--appendonly", "yes", "--appendfsync", "always", "--cluster-node-timeout", "4000"];
        Self { cluster: RedisCluster::with_replicas(&settings), trouble: None }
    }

    /// Those of its nodes.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.cluster.nodes.iter().map(RedisServer::port)
    }

    fn tell_all(&self, command: &[&str]) {
        for node in self.cluster.nodes.iter().filter(|node| node.is_running()) {
            ok(node, command);
        }
    }

    /// Begins to move the slots of some entities, and moves some of their keys: one call of a writer may then have
    /// keys in two places.
    fn begin_moves(&self, random: &mut fastrand::Rng) -> Vec<(u16, usize, usize)> {
        let owners = self.cluster.owners_now();
        let mut moves: Vec<(u16, usize, usize)> = Vec::new();
        for _ in 0..MOVES {
            let key = key(random);
            let slot = self.cluster.slot(&key);
            if moves.iter().any(|(moving, ..)| *moving == slot) {
                continue;
            }
            let from = self.cluster.owner_now(&key);
            let others: Vec<usize> = owners.iter().copied().filter(|node| *node != from).collect();
            moves.push((slot, from, others[random.usize(..others.len())]));
        }
        for (slot, from, to) in &moves {
            self.cluster.begin_move(*slot, *from, *to);
            if random.bool() {
                self.cluster.move_keys(*slot, *from, *to, 1);
            }
        }
        moves
    }
}

impl Store for Cluster {
    fn name(&self) -> &'static str {
        Keeper::Cluster.name()
    }

    fn uri(&self) -> String {
        format!("{}&wait_replicas=1", self.cluster.uri())
    }

    fn stall(&mut self) {
        self.tell_all(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    }

    fn can_be_read_stalled(&self) -> bool {
        true
    }

    fn go_on(&mut self) {
        self.tell_all(&["CLIENT", "UNPAUSE"]);
    }

    fn vanish(&mut self) {
        self.cluster.nodes.iter_mut().for_each(RedisServer::kill);
    }

    fn come_back(&mut self) {
        self.cluster.nodes.iter_mut().for_each(RedisServer::start_again);
        self.cluster.wait_until_whole();
    }

    fn begin_trouble(&mut self, which: Trouble, random: &mut fastrand::Rng) -> bool {
        self.trouble = Some(match which {
            Trouble::Light => Under::Moving(self.begin_moves(random)),
            Trouble::Heavy => {
                let dead = self.cluster.owner_now(&key(random));
                self.cluster.nodes[dead].kill();
                Under::Dead(dead)
            }
        });
        true
    }

    fn end_trouble(&mut self) -> &'static str {
        match self.trouble.take().expect("it was begun") {
            Under::Moving(moves) => {
                for (slot, from, to) in moves {
                    // New keys of the slot are made where it goes, so this ends.
                    while self.cluster.move_keys(slot, from, to, 10) {}
                    self.cluster.end_move(slot, from, to);
                }
                "slots moved"
            }
            Under::Dead(dead) => {
                self.cluster.wait_for_failover(dead);
                self.cluster.nodes[dead].start_again();
                self.cluster.wait_until_whole();
                "a node died and its replica took over"
            }
        }
    }
}

/// The key of an entity that is written again and again.
fn key(random: &mut fastrand::Rng) -> String {
    format!("prod/user/{{{}}}", random.u64(..ENTITIES))
}

impl Online for Cluster {
    fn reader(&self) -> Box<dyn look::Online> {
        Box::new(look::Redis { ports: self.ports().collect() })
    }
}
