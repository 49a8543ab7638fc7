//! Which server has which key: one server for all of them, or the nodes of a cluster by slot.
//!
//! A cluster's map is asked for when it is not known, when a server says that a slot has moved, and
//! when one cannot be reached; whoever answers is believed until the next contradiction.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fred::error::Error;
use fred::types::Value;
use fred::types::cluster::ClusterRouting;
use fred::util::redis_keyslot;

use super::answer::{Kind, Trouble};
use super::link::Link;
use super::node::Node;

/// How often one command follows a redirection.
pub(super) const REDIRECTIONS: usize = 5;

/// The servers of one URI.
pub(super) struct Topology {
    pub(super) link: Arc<Link>,
    pub(super) clustered: bool,
    map: Mutex<Arc<Map>>,
    /// Whether the map was contradicted.
    stale: AtomicBool,
    /// Whether nobody answered when the map was last asked for.
    lost: AtomicBool,
    refreshing: tokio::sync::Mutex<()>,
    /// How many connections had been opened when the layout was last looked at; 0 is never.
    pub(super) layout_seen: AtomicU64,
}

/// First and last slot with their owner, in order. Slots that nobody has are missing.
type Map = Vec<(u16, u16, Arc<Node>)>;

/// Where a server sends a command that it does not run itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Redirection {
    /// The slot has another owner.
    Moved,
    /// This key may be there already: host and port.
    Ask(String, u16),
}

impl Redirection {
    /// Reads `MOVED slot host:port` or `ASK slot host:port`; a missing host is that of whoever says so.
    pub(super) fn read(error: &str, from: &str) -> Option<Self> {
        let mut words = error.split_whitespace();
        match words.next()? {
            "MOVED" => Some(Self::Moved),
            "ASK" => {
                let (host, port) = words.nth(1)?.rsplit_once(':')?;
                let host = if host.is_empty() { from } else { host };
                Some(Self::Ask(host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?))
            }
            _ => None,
        }
    }
}

impl Topology {
    pub(super) fn new(link: Link, clustered: bool) -> Self {
        let link = Arc::new(link);
        let map = if clustered {
            Map::new()
        } else {
            vec![(0, 0, Arc::new(Node::new(&link, &link.address.host, link.address.port)))]
        };
        Self {
            link,
            clustered,
            map: Mutex::new(Arc::new(map)),
            stale: AtomicBool::new(clustered),
            lost: AtomicBool::new(false),
            refreshing: tokio::sync::Mutex::default(),
            layout_seen: AtomicU64::new(0),
        }
    }

    /// The slot of a key; a single server has one.
    pub(super) fn slot(&self, key: &[u8]) -> u16 {
        if self.clustered { redis_keyslot(key) } else { 0 }
    }

    /// Who has a slot, as far as is known.
    pub(super) fn owner(&self, slot: u16) -> Result<Arc<Node>, Trouble> {
        let map = self.map();
        let next = map.partition_point(|(first, _, _)| *first <= slot);
        let range = next.checked_sub(1).and_then(|at| map.get(at)).filter(|(_, last, _)| slot <= *last);
        range.map(|(_, _, owner)| owner.clone()).ok_or_else(|| Trouble {
            kind: Kind::Passing,
            reason: format!("{}: no node of the cluster has slot {slot}", self.link.address),
        })
    }

    /// A node by its address.
    pub(super) fn node(&self, host: &str, port: u16) -> Arc<Node> {
        let map = self.map();
        let known = map.iter().map(|(_, _, node)| node).find(|node| node.host == host && node.port == port);
        known.cloned().unwrap_or_else(|| Arc::new(Node::new(&self.link, host, port)))
    }

    /// Something contradicted the map: it is asked for before it is used again.
    pub(super) fn contradicted(&self) {
        self.stale.store(self.clustered, Ordering::Release);
    }

    /// Whether nobody answered when the map was last asked for.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Asks for the map, where it was contradicted: the node that is said to know first, then every other.
    pub(super) async fn refresh(&self, first: Option<&Arc<Node>>) -> Result<(), Trouble> {
        if !self.stale.load(Ordering::Acquire) {
            return Ok(());
        }
        let _one_at_a_time = self.refreshing.lock().await;
        if !self.stale.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let mut nodes: Vec<Arc<Node>> = first.cloned().into_iter().collect();
        let address = &self.link.address;
        let seed = self.node(&address.host, address.port);
        for node in self.map().iter().map(|(_, _, node)| node).chain([&seed]) {
            if !nodes.iter().any(|known| Arc::ptr_eq(known, node)) {
                nodes.push(node.clone());
            }
        }
        // Where connections stand an answer is likelier. What the last one says is of the address in the URI.
        nodes.sort_by_key(|node| !node.has_free());
        let mut trouble = None;
        for node in nodes {
            match self.ask_map(&node).await {
                Ok(map) => {
                    *self.map.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(map);
                    self.lost.store(false, Ordering::Release);
                    return Ok(());
                }
                Err(error) => trouble = Some(error),
            }
        }
        self.contradicted();
        self.lost.store(true, Ordering::Release);
        Err(trouble.unwrap_or_else(|| Trouble::unexpected(&self.link.address.to_string(), "no nodes")))
    }

    async fn ask_map(&self, node: &Arc<Node>) -> Result<Map, Trouble> {
        let reply = self.send(node, false, "CLUSTER", vec!["SLOTS".into()]).await?;
        let reply = reply.map_err(|error| Trouble::of(&node.name, &error))?;
        self.read_map(reply, node).ok_or_else(|| Trouble::unexpected(&node.name, "no slots"))
    }

    /// Reads ranges of slots with their owners.
    fn read_map(&self, reply: Value, from: &Arc<Node>) -> Option<Map> {
        let routing = ClusterRouting::from_cluster_slots(reply, from.host.clone()).ok()?;
        let mut nodes = vec![from.clone()];
        let mut map = Map::new();
        for range in routing.slots() {
            // A node that does not know its own host is reached as it was.
            let host = if matches!(&*range.primary.host, "" | "?") { &from.host } else { &*range.primary.host };
            let port = range.primary.port;
            let known = nodes.iter().find(|node| node.host == host && node.port == port).cloned();
            let node = known.unwrap_or_else(|| {
                nodes.push(self.node(host, port));
                nodes[nodes.len() - 1].clone()
            });
            map.push((range.start, range.end, node));
        }
        Some(map)
    }

    /// Runs one command on whoever has the slot.
    pub(super) async fn run(&self, slot: u16, name: &'static str, arguments: Vec<Value>) -> Result<Value, Trouble> {
        let mut asked: Option<Arc<Node>> = None;
        let mut last = None;
        for _ in 0..REDIRECTIONS {
            self.refresh(last.as_ref()).await?;
            let asking = asked.is_some();
            let node = asked.take().map_or_else(|| self.owner(slot), Ok).inspect_err(|_| self.contradicted())?;
            let sent = self.send(&node, asking, name, arguments.clone()).await;
            let error = match sent.inspect_err(|_| self.contradicted())? {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            match Redirection::read(error.details(), &node.host).filter(|_| self.clustered) {
                None => return Err(Trouble::of(&node.name, &error)),
                Some(Redirection::Moved) => self.contradicted(),
                Some(Redirection::Ask(host, port)) => asked = Some(self.node(&host, port)),
            }
            last = Some(node);
        }
        Err(self.moving())
    }

    /// Sends a node one command, over a new connection where the node had closed the one that was free. The
    /// inner error is an answer.
    async fn send(
        &self,
        node: &Node,
        asking: bool,
        name: &'static str,
        arguments: Vec<Value>,
    ) -> Result<Result<Value, Error>, Trouble> {
        let mut session = node.session().await?;
        loop {
            let reply = session.send(asking, name, arguments.clone()).await;
            match reply {
                Err(error) if Trouble::is_of_connection(&error) => {
                    let trouble = Trouble::of(&node.name, &error);
                    if !(session.reused && trouble.kind == Kind::Ended) {
                        return Err(trouble);
                    }
                    session = node.open().await?;
                }
                reply => {
                    node.give_back(session);
                    return Ok(reply);
                }
            }
        }
    }

    /// Slots went from hand to hand while a command followed them.
    pub(super) fn moving(&self) -> Trouble {
        Trouble { kind: Kind::Passing, reason: format!("{}: slots of the cluster are moving", self.link.address) }
    }

    pub(super) fn map(&self) -> Arc<Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::online::redis::uri;

    fn cluster() -> Topology {
        Topology::new(Link::new(uri::parse("redis://seed:7000").expect("sound"), "".into()), true)
    }

    fn range(first: i64, last: i64, owner: Vec<Value>) -> Value {
        Value::Array(vec![first.into(), last.into(), Value::Array(owner)])
    }

    #[test]
    fn a_map_names_the_owner_of_every_slot_that_has_one() {
        let topology = cluster();
        let from = topology.node("seed", 7000);
        let node = |host: Value, port: i64| vec![host, port.into(), "id".into()];
        let reply = Value::Array(vec![
            range(300, 16_382, node("10.0.0.1".into(), 7001)),
            range(1, 99, node("10.0.0.1".into(), 7001)),
            // Whoever does not know its own host is where it was asked.
            range(100, 199, node(Value::Null, 7000)),
            range(200, 299, node("".into(), 7000)),
        ]);
        *topology.map.lock().expect("a lock") = Arc::new(topology.read_map(reply, &from).expect("a map"));
        let owner = |slot| topology.owner(slot).map(|node| node.name.clone()).ok();
        for (slot, name) in [
            (0, None),
            (1, Some("redis://10.0.0.1:7001")),
            (99, Some("redis://10.0.0.1:7001")),
            (100, Some("redis://seed:7000")),
            (299, Some("redis://seed:7000")),
            (300, Some("redis://10.0.0.1:7001")),
            (16_382, Some("redis://10.0.0.1:7001")),
            (16_383, None),
        ] {
            assert_eq!(owner(slot).as_deref(), name, "{slot}");
        }
        let (one, other) = (topology.owner(1).expect("one"), topology.owner(300).expect("one"));
        assert!(Arc::ptr_eq(&one, &other) && Arc::ptr_eq(&topology.owner(100).expect("one"), &from));
        assert_eq!(topology.read_map(Value::Array(vec![]), &from).map(|map| map.len()), Some(0));
        for wrong in [range(0, 1, node("h".into(), 65_536)), range(0, 1, vec!["h".into()]), range(-1, 0, vec![])] {
            assert!(topology.read_map(Value::Array(vec![wrong.clone()]), &from).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn a_redirection_names_where_to_go() {
        let ask = |host: &str, port| Some(Redirection::Ask(host.to_owned(), port));
        for (error, expected) in [
            ("ASK 3999 127.0.0.1:6381", ask("127.0.0.1", 6381)),
            ("ASK 3999 :6381", ask("from", 6381)),
            ("ASK 3999 [::1]:6381", ask("::1", 6381)),
            ("ASK 3999 ::1:6381", ask("::1", 6381)),
            ("MOVED 3999 127.0.0.1:6381", Some(Redirection::Moved)),
            ("ASK 3999", None),
            ("ASK 3999 host:port", None),
            ("TRYAGAIN Multiple keys", None),
            ("", None),
        ] {
            assert_eq!(Redirection::read(error, "from"), expected, "{error}");
        }
    }

    #[test]
    fn a_single_server_has_every_key_and_a_cluster_whose_map_is_not_known_none() {
        let single = Topology::new(Link::new(uri::parse("redis://one").expect("sound"), "".into()), false);
        assert_eq!(single.slot(b"p/e/n/{1}"), 0);
        assert_eq!(single.owner(0).expect("one").name, "redis://one:6379");
        let cluster = cluster();
        // As `CLUSTER KEYSLOT` has it.
        assert_eq!((cluster.slot(b"p/e/n/{foo}"), cluster.slot(b"foo")), (12_182, 12_182));
        assert_eq!(cluster.owner(0).expect_err("nobody").kind, Kind::Passing);
    }
}
