//! A real Redis Cluster of a test's own: nodes on free ports of the loopback, made by commands.

#![allow(dead_code, reason = "each suite uses the part that it needs")]

use std::io::Write as _;
use std::process::{ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::redis::{RedisServer, Reply};

/// How long a cluster may take to agree on something.
const PATIENCE: Duration = Duration::from_secs(120);

/// Slots of every cluster.
const SLOTS: usize = 16_384;

/// Running nodes: those that own slots first, then a replica of each where there are any.
pub(crate) struct RedisCluster {
    pub(crate) nodes: Vec<RedisServer>,
    owners: usize,
}

impl RedisCluster {
    /// Three nodes with a third of the slots each.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::of(3, false, arguments)
    }

    /// Three nodes with a third of the slots each, and a replica of each.
    pub(crate) fn with_replicas(arguments: &[&str]) -> Self {
        Self::of(3, true, arguments)
    }

    fn of(owners: usize, replicas: bool, arguments: &[&str]) -> Self {
        let mut all =
            vec!["--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--repl-diskless-sync-delay", "0"];
        all.extend(arguments);
        let count = if replicas { 2 * owners } else { owners };
        let cluster = Self { nodes: (0..count).map(|_| RedisServer::in_cluster(&all)).collect(), owners };
        for (number, node) in cluster.nodes.iter().enumerate() {
            ok(node, &["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
            if number < owners {
                let (first, last) = (number * SLOTS / owners, (number + 1) * SLOTS / owners - 1);
                ok(node, &["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
            }
        }
        for (number, node) in cluster.nodes.iter().enumerate() {
            let (port, bus) = (node.port().to_string(), node.bus_port().to_string());
            for other in &cluster.nodes[..number] {
                ok(other, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
            }
        }
        cluster.wait("the nodes know one another", || {
            cluster.nodes.iter().all(|node| info(node, "CLUSTER", "cluster_known_nodes") == count.to_string())
        });
        for (owner, replica) in cluster.nodes.iter().zip(&cluster.nodes[owners..]) {
            cluster.wait("a replica knows its owner", || {
                !matches!(replica.command(&["CLUSTER", "REPLICATE", &id(owner)]), Reply::Error(_))
            });
        }
        cluster.wait_until_whole();
        cluster
    }

    /// Waits until every node sees all slots served, and every replica follows its owner.
    pub(crate) fn wait_until_whole(&self) {
        for node in &self.nodes {
            self.wait("the cluster is whole", || info(node, "CLUSTER", "cluster_state") == "ok");
        }
        self.wait("every replica is linked", || {
            let linked = |node| info(node, "REPLICATION", "master_link_status") == "up";
            self.nodes.iter().filter(|node| is_replica(node) && linked(node)).count() == self.nodes.len() - self.owners
        });
    }

    /// A URI of its first node.
    pub(crate) fn uri(&self) -> String {
        format!("{}?clustered=true", self.nodes[0].uri())
    }

    /// Sends a command with one key to whoever has it; the key is its second part.
    pub(crate) fn command<A: AsRef<[u8]>>(&self, parts: &[A]) -> Reply {
        self.answer("no node has the slot", || {
            let mut refused = Vec::new();
            for node in self.nodes.iter().filter(|node| node.is_running()) {
                match node.command(parts) {
                    Reply::Error(error) if error.starts_with("MOVED") => refused.push(error),
                    reply => return Ok(reply),
                }
            }
            Err(refused.join("; "))
        })
    }

    /// The slot of a key.
    pub(crate) fn slot(&self, key: &str) -> u16 {
        self.answer("no slot of a key", || match self.nodes[0].command(&["CLUSTER", "KEYSLOT", key]) {
            Reply::Number(slot) => Ok(u16::try_from(slot).expect("a slot")),
            other => Err(format!("{other:?}")),
        })
    }

    /// Index of the node that owns a slot of the freshly made cluster.
    pub(crate) fn owner(&self, slot: u16) -> usize {
        (0..self.owners).find(|number| usize::from(slot) < (number + 1) * SLOTS / self.owners).expect("an owner")
    }

    /// Begins to move a slot: keys are then in one place or the other.
    pub(crate) fn begin_move(&self, slot: u16, from: usize, to: usize) {
        let slot = slot.to_string();
        ok(&self.nodes[to], &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(&self.nodes[from])]);
        ok(&self.nodes[from], &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(&self.nodes[to])]);
    }

    /// Moves up to so many keys of a slot; whether there were any.
    pub(crate) fn move_keys(&self, slot: u16, from: usize, to: usize, count: usize) -> bool {
        let (slot, count) = (slot.to_string(), count.to_string());
        let keys = self.answer("no keys of a slot", || {
            match self.nodes[from].command(&["CLUSTER", "GETKEYSINSLOT", &slot, &count]) {
                Reply::List(keys) => Ok(keys),
                other => Err(format!("{other:?}")),
            }
        });
        for key in &keys {
            let Reply::Bytes(key) = key else { panic!("{key:?}") };
            self.move_key(key, from, to);
        }
        !keys.is_empty()
    }

    /// Moves one key. On a busy machine an answer can be late: the key may then be in both places, and the one that it
    /// comes from is right, since writers ask there first. Any other refusal that lasts is an error.
    fn move_key(&self, key: &[u8], from: usize, to: usize) {
        let port = self.nodes[to].port().to_string();
        let mut parts: Vec<&[u8]> = vec![b"MIGRATE", b"127.0.0.1", port.as_bytes(), key, b"0", b"5000"];
        let deadline = Instant::now() + PATIENCE;
        // NOKEY, which is no error, where it expired meanwhile.
        while let Reply::Error(error) = self.nodes[from].command(&parts) {
            assert!(Instant::now() < deadline, "a key that does not move: {error}{}", self.views());
            if error.starts_with("IOERR") && parts.len() == 6 {
                parts.push(b"REPLACE");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends a move: the slot has a new owner.
    ///
    /// The new owner takes an epoch above all that it knows, without asking anybody. Moves in quick succession need every node to
    /// know the last one's first: else a node with an epoch below the old owner's claims the slot, the nodes tell one another
    /// to ask elsewhere for ever, and masters refuse their votes in elections because the slot's epoch is the higher one.
    pub(crate) fn end_move(&self, slot: u16, from: usize, to: usize) {
        self.wait_until_agreed();
        let new = id(&self.nodes[to]);
        for node in [&self.nodes[to], &self.nodes[from]].into_iter().chain(&self.nodes) {
            if node.is_running() && !is_replica(node) {
                ok(node, &["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &new]);
            }
        }
        self.wait_until_agreed();
    }

    /// Waits until all nodes say the same of who has which slots, and since which epoch.
    fn wait_until_agreed(&self) {
        self.wait("all nodes agree on the owners of slots", || {
            let mut views = self.nodes.iter().filter(|node| node.is_running()).map(owners_as_seen_by);
            let first = views.next();
            views.all(|view| Some(view) == first)
        });
    }

    /// Waits until the other node of the pair owns the slots of one that died.
    pub(crate) fn wait_for_failover(&self, dead: usize) {
        let replica = &self.nodes[(dead + self.owners) % self.nodes.len()];
        self.wait("a replica takes over", || !is_replica(replica));
    }

    /// Indices of the nodes that own slots now.
    pub(crate) fn owners_now(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| !is_replica(&self.nodes[*node])).collect()
    }

    /// Index of the node that owns a key's slot now, whatever moved and died before.
    pub(crate) fn owner_now(&self, key: &str) -> usize {
        // None has it while the nodes take one another for dead, which those of a busy machine do for a moment.
        self.answer("no node has a key's slot", || {
            let mut refused = Vec::new();
            for (number, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.is_running()) {
                match node.command(&["EXISTS", key]) {
                    Reply::Error(error) => refused.push(error),
                    _ => return Ok(number),
                }
            }
            Err(refused.join("; "))
        })
    }

    /// Asks again until there is an answer; in the end it says what was said instead.
    fn answer<T>(&self, without: &str, ask: impl Fn() -> Result<T, String>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match ask() {
                Ok(answer) => return answer,
                Err(said) => assert!(Instant::now() < deadline, "{without}: {said}{}", self.views()),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn wait(&self, what: &str, done: impl Fn() -> bool) {
        self.answer("in vain", || if done() { Ok(()) } else { Err(what.to_owned()) });
    }

    /// What each node says of the cluster.
    fn views(&self) -> String {
        let view = |node: &RedisServer| match node.command(&["CLUSTER", "NODES"]) {
            Reply::Bytes(text) => String::from_utf8_lossy(&text).into_owned(),
            other => format!("{other:?}"),
        };
        let of = |node: &RedisServer| {
            let view = if node.is_running() { view(node) } else { "it does not run".to_owned() };
            format!("\nnode on {}: {view}its last words: {}", node.port(), node.last_words())
        };
        self.nodes.iter().map(of).collect()
    }

    /// Lets the nodes live as long as this process, for what is never dropped.
    pub(crate) fn live_with_this_process(&self) -> ChildStdin {
        let pids = self.nodes.iter().map(|node| node.pid().to_string());
        // The pipe closes when this process ends, however it does.
        let mut watcher = Command::new("sh");
        watcher.args(["-c", "cat; kill -9 \"$@\"", "sh"]).args(pids).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut pipe = watcher.spawn().expect("a shell").stdin.take().expect("a pipe");
        pipe.flush().expect("an open pipe");
        pipe
    }
}

/// Commands until it is done: a node may still be busy with itself, or with the others. What it says then is said in the end.
pub(crate) fn ok(node: &RedisServer, parts: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    while let Reply::Error(error) = node.command(parts) {
        assert!(Instant::now() < deadline, "{parts:?}: {error}; its last words: {}", node.last_words());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn id(node: &RedisServer) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match node.command(&["CLUSTER", "MYID"]) {
            Reply::Bytes(id) => return String::from_utf8(id).expect("hex"),
            other => assert!(Instant::now() < deadline, "CLUSTER MYID: {other:?}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a node says of every owner of slots: its id, its epoch, its slots.
fn owners_as_seen_by(node: &RedisServer) -> Vec<Vec<String>> {
    let Reply::Bytes(text) = node.command(&["CLUSTER", "NODES"]) else { return Vec::new() };
    let text = String::from_utf8_lossy(&text).into_owned();
    let owners = text.lines().filter(|line| line.contains("master"));
    let mut owners: Vec<Vec<String>> = owners
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            // Slots in brackets are on their way; only the two nodes of a move know of them.
            let slots = words[8..].iter().filter(|slot| !slot.starts_with('['));
            [words[0], words[6]].iter().chain(slots).map(|word| (*word).to_owned()).collect()
        })
        .collect();
    owners.sort();
    owners
}

fn is_replica(node: &RedisServer) -> bool {
    info(node, "REPLICATION", "role") == "slave"
}

/// A line of what a node says of itself.
fn info(node: &RedisServer, part: &str, name: &str) -> String {
    let command: &[&str] = if part == "CLUSTER" { &["CLUSTER", "INFO"] } else { &["INFO", part] };
    let Reply::Bytes(text) = node.command(command) else { return String::new() };
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().to_owned()
}
