//! Which server has which key: one server for all of them, or the nodes of a cluster by slot.
//!
//! A cluster's map is asked for when it is not known, when a server says that a slot has moved, and
//! when one cannot be reached; whoever answers is believed until the next contradiction.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redis_protocol::redis_keyslot;
use redis_protocol::resp2::types::BytesFrame;

use super::answer::{Kind, Trouble};
use super::layout::{LAYOUT, layout_key};
use super::node::{Link, Node};

/// Slots of a cluster.
const SLOTS: usize = 16_384;

/// How often one command follows a redirection.
pub(super) const REDIRECTIONS: usize = 5;

/// A slot that nobody is known to have.
const NOBODY: u16 = u16::MAX;

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
    layout_seen: AtomicU64,
}

#[derive(Debug, Default)]
struct Map {
    nodes: Vec<Arc<Node>>,
    /// Index of a node, by slot.
    owners: Vec<u16>,
}

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
            Map::default()
        } else {
            let node = Arc::new(Node::new(&link, &link.address.host, link.address.port));
            Map { nodes: vec![node], owners: vec![0] }
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
        let owner = map.owners.get(usize::from(slot)).and_then(|owner| map.nodes.get(usize::from(*owner)));
        owner.cloned().ok_or_else(|| Trouble {
            kind: Kind::Passing,
            reason: format!("{}: no node of the cluster has slot {slot}", self.link.address),
        })
    }

    /// A node by its address.
    pub(super) fn node(&self, host: &str, port: u16) -> Arc<Node> {
        let known = self.map().nodes.iter().find(|node| node.host == host && node.port == port).cloned();
        known.unwrap_or_else(|| Arc::new(Node::new(&self.link, host, port)))
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
        for node in self.map().nodes.iter().chain([&seed]) {
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
        let mut session = node.session().await?;
        let reply = match session.ask(&[b"CLUSTER", b"SLOTS"]).await {
            Err(trouble) if session.reused && trouble.kind == Kind::Ended => {
                session = node.open().await?;
                session.ask(&[b"CLUSTER", b"SLOTS"]).await?
            }
            reply => reply?,
        };
        node.give_back(session);
        self.read_map(&reply, node).ok_or_else(|| Trouble::unexpected(&node.name, "no slots"))
    }

    /// Reads ranges of slots with their owners: first slot, last slot, then host, port and more of each node.
    fn read_map(&self, reply: &BytesFrame, from: &Arc<Node>) -> Option<Map> {
        let BytesFrame::Array(ranges) = reply else { return None };
        let mut map = Map { nodes: Vec::new(), owners: vec![NOBODY; SLOTS] };
        for range in ranges {
            let BytesFrame::Array(range) = range else { return None };
            let [BytesFrame::Integer(first), BytesFrame::Integer(last), BytesFrame::Array(owner), ..] = &range[..]
            else {
                return None;
            };
            let (host, port) = match &owner[..] {
                [BytesFrame::BulkString(host), BytesFrame::Integer(port), ..] => (str::from_utf8(host).ok()?, port),
                // A node that does not know its own host is reached as it was.
                [BytesFrame::Null, BytesFrame::Integer(port), ..] => ("", port),
                _ => return None,
            };
            let host = if matches!(host, "" | "?") { &from.host } else { host };
            let port = u16::try_from(*port).ok()?;
            let known = map.nodes.iter().position(|node| node.host == host && node.port == port);
            let index = known.unwrap_or_else(|| {
                let node = if from.host == host && from.port == port { from.clone() } else { self.node(host, port) };
                map.nodes.push(node);
                map.nodes.len() - 1
            });
            let (first, last) = (usize::try_from(*first).ok()?, usize::try_from(*last).ok()?);
            map.owners.get_mut(first..=last)?.fill(u16::try_from(index).ok()?);
        }
        Some(map)
    }

    /// Runs one command on whoever has the slot.
    pub(super) async fn run(&self, slot: u16, parts: &[&[u8]]) -> Result<BytesFrame, Trouble> {
        let mut asked: Option<Arc<Node>> = None;
        let mut last = None;
        for _ in 0..REDIRECTIONS {
            self.refresh(last.as_ref()).await?;
            let (node, asking) = match asked.take() {
                Some(node) => (node, true),
                None => (self.owner(slot).inspect_err(|_| self.contradicted())?, false),
            };
            let mut session = node.session().await.inspect_err(|_| self.contradicted())?;
            if asking {
                session.ask(&[b"ASKING"]).await?;
            }
            let reply = match session.exchange(parts).await {
                Err(trouble) if session.reused && trouble.kind == Kind::Ended => {
                    session = node.open().await.inspect_err(|_| self.contradicted())?;
                    session.exchange(parts).await?
                }
                reply => reply.inspect_err(|_| self.contradicted())?,
            };
            let BytesFrame::Error(error) = &reply else {
                node.give_back(session);
                return Ok(reply);
            };
            match Redirection::read(error, &node.host).filter(|_| self.clustered) {
                None => return Err(Trouble::of_answer(&node.name, error)),
                Some(Redirection::Moved) => self.contradicted(),
                Some(Redirection::Ask(host, port)) => asked = Some(self.node(&host, port)),
            }
            node.give_back(session);
            last = Some(node);
        }
        Err(self.moving())
    }

    /// Slots went from hand to hand while a command followed them.
    pub(super) fn moving(&self) -> Trouble {
        Trouble { kind: Kind::Passing, reason: format!("{}: slots of the cluster are moving", self.link.address) }
    }

    /// Finds this layout's number, or sets it where no layout has been used yet; again whenever a connection
    /// was opened since, because the server may be another one.
    pub(super) async fn ensure_layout(&self) -> Result<(), Trouble> {
        let (opened, seen) = (self.link.opened().max(1), self.layout_seen.load(Ordering::Acquire));
        if opened == seen {
            return Ok(());
        }
        let key = layout_key(&self.link.prefix);
        let slot = self.slot(key.as_bytes());
        let checked = async {
            self.run(slot, &[b"SET", key.as_bytes(), LAYOUT.as_bytes(), b"NX"]).await?;
            self.check_layout().await
        };
        match checked.await {
            Ok(()) => self.layout_seen.store(opened, Ordering::Release),
            // In a cluster the number's own slot may be away while others are not.
            Err(trouble) if self.clustered && seen > 0 && trouble.kind != Kind::Denied => {}
            Err(trouble) => return Err(trouble),
        }
        Ok(())
    }

    /// Refuses a store that another layout has been used in.
    pub(super) async fn check_layout(&self) -> Result<(), Trouble> {
        let key = layout_key(&self.link.prefix);
        let found = match self.run(self.slot(key.as_bytes()), &[b"GET", key.as_bytes()]).await? {
            BytesFrame::Null => return Ok(()),
            BytesFrame::BulkString(number) if number == LAYOUT.as_bytes() => return Ok(()),
            BytesFrame::BulkString(other) => String::from_utf8_lossy(&other[..other.len().min(40)]).into_owned(),
            _ => "no text".to_owned(),
        };
        Err(Trouble::denied(format!(
            "{}: `{key}` is {found}; this version reads and writes layout {LAYOUT}: use another prefix or database",
            self.link.address,
        )))
    }

    fn map(&self) -> Arc<Map> {
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

    fn text(text: &'static str) -> BytesFrame {
        BytesFrame::BulkString(text.as_bytes().into())
    }

    fn range(first: i64, last: i64, owner: Vec<BytesFrame>) -> BytesFrame {
        BytesFrame::Array(vec![BytesFrame::Integer(first), BytesFrame::Integer(last), BytesFrame::Array(owner)])
    }

    #[test]
    fn a_map_names_the_owner_of_every_slot_that_has_one() {
        let topology = cluster();
        let from = topology.node("seed", 7000);
        let port = BytesFrame::Integer;
        let reply = BytesFrame::Array(vec![
            range(0, 99, vec![text("10.0.0.1"), port(7001), text("id")]),
            // Whoever does not know its own host is where it was asked.
            range(100, 199, vec![BytesFrame::Null, port(7000)]),
            range(200, 299, vec![text(""), port(7000)]),
            range(300, 16_383, vec![text("10.0.0.1"), port(7001)]),
        ]);
        let map = topology.read_map(&reply, &from).expect("a map");
        let owner = |slot: usize| map.nodes.get(usize::from(map.owners[slot])).map(|node| node.name.clone());
        assert_eq!(map.nodes.len(), 2);
        for (slot, name) in [(0, "redis://10.0.0.1:7001"), (199, "redis://seed:7000"), (200, "redis://seed:7000")] {
            assert_eq!(owner(slot).as_deref(), Some(name), "{slot}");
        }
        assert!(Arc::ptr_eq(&map.nodes[1], &from), "its connections are kept");
        let gap = BytesFrame::Array(vec![range(1, 16_383, vec![text("h"), port(1)])]);
        let map = topology.read_map(&gap, &from).expect("a map");
        assert_eq!((map.owners[0], map.owners[1]), (NOBODY, 0));
        for wrong in [
            range(0, 16_384, vec![text("h"), port(1)]),
            range(2, 0, vec![text("h"), port(1)]),
            range(-1, 0, vec![text("h"), port(1)]),
            range(0, 1, vec![text("h"), port(65_536)]),
            range(0, 1, vec![text("h")]),
            BytesFrame::Null,
        ] {
            assert!(topology.read_map(&BytesFrame::Array(vec![wrong.clone()]), &from).is_none(), "{wrong:?}");
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
