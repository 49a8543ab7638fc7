//! A Redis Cluster that changes while it is written to: slots move, nodes die, nobody has a slot.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use chalk_writer::row::feature::FeatureRow;
use chalk_writer::sink::SinkError;
use chalk_writer::store::online::OnlineStore;

use super::place::{cell, entity, int, read, row, store, stored, stored_at_last, value, write};
use crate::redis::Reply;
use crate::redis_cluster::RedisCluster;

fn key(name: &str) -> String {
    format!("test/prod/user/{{{name}}}")
}

/// Six hundred names, some of which share a slot.
fn names() -> impl Iterator<Item = String> {
    (0..600_u64).map(|number| (number * 7_919_773).to_string())
}

/// One row for each of many entities, which fall into slots of every node.
fn users(time: i64) -> Vec<FeatureRow> {
    names().map(|name| row(entity(&name), vec![cell("a", time, int(time))])).collect()
}

async fn must_be(store: &dyn OnlineStore, time: i64) {
    for name in names() {
        assert_eq!(value(store, &entity(&name), "a").await, Some(int(time)), "user {name}");
    }
}

/// Writes newer and newer values until told to stop; returns the last one that was acknowledged.
async fn write_until(stop: Arc<AtomicBool>, store: Arc<dyn OnlineStore>, progress: Arc<AtomicI64>) -> i64 {
    let mut time = 0;
    while !stop.load(Ordering::Relaxed) {
        time += 1;
        let mut rows = users(time);
        // As the runtime does it: what was taken is done, what was not is written again.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while !rows.is_empty() {
            assert!(tokio::time::Instant::now() < deadline, "{} rows are never taken", rows.len());
            match write(&*store, &rows).await {
                Ok(outcome) => {
                    assert!(outcome.refused.is_empty(), "{:?}", outcome.refused);
                    assert_eq!(outcome.again.is_empty(), outcome.reason.is_none());
                    rows = outcome.again.iter().map(|index| rows[*index].clone()).collect();
                }
                Err(SinkError::Transient { .. }) => {}
                Err(other) => panic!("{other}"),
            }
            if !rows.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        progress.store(time, Ordering::Relaxed);
    }
    time
}

struct Load {
    stop: Arc<AtomicBool>,
    progress: Arc<AtomicI64>,
    writer: tokio::task::JoinHandle<i64>,
}

impl Load {
    fn start(store: &Arc<dyn OnlineStore>) -> Self {
        let (stop, progress) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
        let writer = tokio::spawn(write_until(stop.clone(), store.clone(), progress.clone()));
        Self { stop, progress, writer }
    }

    /// Waits for some more writes to be acknowledged.
    async fn goes_on(&self) {
        let goal = self.progress.load(Ordering::Relaxed) + 3;
        while self.progress.load(Ordering::Relaxed) < goal {
            assert!(!self.writer.is_finished(), "the writer ended");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn end(self) -> i64 {
        self.stop.store(true, Ordering::Relaxed);
        self.writer.await.expect("a writer that ends")
    }
}

#[tokio::test]
async fn rows_go_to_the_owners_of_their_slots_and_are_found_there() {
    let cluster = RedisCluster::start(&[]);
    let store = store(&cluster.uri());
    let outcome = stored(&*store, &users(1)).await;
    assert_eq!((outcome.stored, outcome.stale), (600, 0));
    let sizes: Vec<Reply> = cluster.nodes.iter().map(|node| node.command(&["DBSIZE"])).collect();
    for size in &sizes {
        assert!(matches!(size, Reply::Number(120..)), "about a third of 601 keys each, found {sizes:?}");
    }
    must_be(&*store, 1).await;
    // A key without a tag of its own is hashed as a whole, and a brace ends the tag early.
    for name in ["", "}", "{}", "a}b", "{a}"] {
        stored(&*store, &[row(entity(name), vec![cell("a", 1, int(1))])]).await;
        assert_eq!(cluster.command(&["EXISTS", &key(name)]), Reply::Number(1), "{name}");
        assert_eq!(value(&*store, &entity(name), "a").await, Some(int(1)), "{name}");
    }
}

#[tokio::test]
async fn a_slot_that_nobody_has_holds_up_its_own_rows_alone() {
    let cluster = RedisCluster::start(&["--cluster-require-full-coverage", "no"]);
    let store = store(&cluster.uri());
    stored(&*store, &users(1)).await;
    let slot = cluster.slot(&key("7919773"));
    let owner = &cluster.nodes[cluster.owner(slot)];
    let text = slot.to_string();
    for node in &cluster.nodes {
        node.command(&["CLUSTER", "DELSLOTS", &text]);
    }
    let rows = users(2);
    let outcome = write(&*store, &rows).await.expect("the others are taken");
    let left: BTreeSet<&str> = outcome.again.iter().map(|index| &*rows[*index].entity.primary_key).collect();
    let expected: Vec<String> = names().filter(|name| cluster.slot(&key(name)) == slot).collect();
    assert_eq!(left, expected.iter().map(String::as_str).collect());
    // What was sent behind the refused call has lost its answers, and is stale when it is sent again.
    assert_eq!(outcome.stored + outcome.stale + outcome.again.len() as u64, 600);
    let reason = outcome.reason.expect("a reason");
    assert!(reason.contains("lot not served") || reason.contains(&format!("slot {slot}")), "{reason}");
    // By now the map itself says so.
    let reason = write(&*store, &rows).await.expect("the others are taken").reason.expect("a reason");
    assert!(reason.contains(&format!("no node of the cluster has slot {slot}")), "{reason}");
    let alone = [row(entity("7919773"), vec![cell("a", 2, int(2))])];
    assert!(matches!(write(&*store, &alone).await, Err(SinkError::Transient { .. })), "nothing of it was taken");
    owner.command(&["CLUSTER", "ADDSLOTS", &text]);
    stored_at_last(&*store, &rows).await;
    assert_eq!(value(&*store, &entity("7919773"), "a").await, Some(int(2)));
}

const LAYOUT: &str = "test/__chalk_layout__";

/// A writer that starts while the number of the layout has no owner writes the rows of others, and asks again.
#[tokio::test]
async fn a_writer_starts_while_nobody_has_the_slot_of_the_layout() {
    let cluster = RedisCluster::start(&["--cluster-require-full-coverage", "no"]);
    let slot = cluster.slot(LAYOUT);
    let owner = &cluster.nodes[cluster.owner(slot)];
    let text = slot.to_string();
    for node in &cluster.nodes {
        node.command(&["CLUSTER", "DELSLOTS", &text]);
    }
    let store = store(&cluster.uri());
    store.probe().await.expect("the others answer");
    assert!(names().all(|name| cluster.slot(&key(&name)) != slot), "no entity is in that slot");
    for time in 1..=2 {
        let outcome = stored(&*store, &users(time)).await;
        assert_eq!((outcome.stored, outcome.stale), (600, 0));
    }
    owner.command(&["CLUSTER", "ADDSLOTS", &text]);
    stored_at_last(&*store, &users(3)).await;
    // Not every node knows of the slot's owner at once.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while owner.command(&["GET", LAYOUT]) != Reply::Bytes(b"1".to_vec()) {
        assert!(tokio::time::Instant::now() < deadline, "it is set as soon as it can be");
        tokio::time::sleep(Duration::from_millis(100)).await;
        stored_at_last(&*store, &users(3)).await;
    }
    must_be(&*store, 3).await;
}

/// It refuses as soon as it reads that the keys are of another layout.
#[tokio::test]
async fn another_layout_is_found_as_soon_as_its_number_is_served() {
    let cluster = RedisCluster::start(&["--cluster-require-full-coverage", "no"]);
    let slot = cluster.slot(LAYOUT);
    let owner = &cluster.nodes[cluster.owner(slot)];
    let text = slot.to_string();
    for node in &cluster.nodes {
        node.command(&["CLUSTER", "DELSLOTS", &text]);
    }
    let store = store(&cluster.uri());
    stored(&*store, &users(1)).await;
    owner.command(&["CLUSTER", "ADDSLOTS", &text]);
    assert_eq!(owner.command(&["SET", LAYOUT, "2"]), Reply::Bytes(b"OK".to_vec()));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        match write(&*store, &users(2)).await {
            Err(SinkError::Denied { reason }) => {
                assert!(reason.contains("`test/__chalk_layout__` is 2"), "{reason}");
                break;
            }
            // Not every node knows of the slot's owner at once.
            other => assert!(tokio::time::Instant::now() < deadline, "expected a denial, found {other:?}"),
        }
    }
    assert!(matches!(store.probe().await, Err(SinkError::Denied { .. })));
}

#[tokio::test]
async fn a_writer_starts_while_the_owner_of_the_layout_is_dead() {
    let mut cluster = RedisCluster::start(&["--cluster-require-full-coverage", "no"]);
    let dead = cluster.owner(cluster.slot(LAYOUT));
    let uri = format!("{}?clustered=true", cluster.nodes[(dead + 1) % 3].uri());
    let expected = names().filter(|name| cluster.owner(cluster.slot(&key(name))) == dead).count();
    cluster.nodes[dead].kill();
    let store = store(&uri);
    store.probe().await.expect("the others answer");
    let outcome = write(&*store, &users(1)).await.expect("the others are taken");
    assert_eq!((outcome.again.len(), outcome.stored as usize), (expected, 600 - expected));
    cluster.nodes[dead].start_again();
    stored_at_last(&*store, &users(2)).await;
}

#[tokio::test]
async fn a_cluster_that_serves_nothing_is_not_reached() {
    let cluster = RedisCluster::start(&[]);
    let text = cluster.slot(LAYOUT).to_string();
    for node in &cluster.nodes {
        node.command(&["CLUSTER", "DELSLOTS", &text]);
    }
    let store = store(&cluster.uri());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    // A node takes a moment to find that the whole is not covered.
    loop {
        match store.probe().await {
            Err(SinkError::Transient { .. }) => break,
            other => assert!(tokio::time::Instant::now() < deadline, "expected trouble, found {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(matches!(write(&*store, &users(1)).await, Err(SinkError::Transient { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_move_under_load_lose_nothing() {
    let cluster = RedisCluster::start(&[]);
    let store = store(&cluster.uri());
    // Two entities of one slot, so that one call has keys in both places while the slot moves.
    let (mut slots, mut twins) = (std::collections::BTreeMap::new(), Vec::new());
    for name in names() {
        slots.entry(cluster.slot(&key(&name))).or_insert_with(Vec::new).push(name);
    }
    twins.extend(slots.iter().filter(|(_, numbers)| numbers.len() > 1).map(|(slot, _)| *slot));
    assert!(!twins.is_empty(), "600 entities in 16384 slots share some");
    let moving: Vec<u16> =
        twins.iter().chain(slots.keys().take(20)).copied().collect::<BTreeSet<_>>().into_iter().collect();
    let load = Load::start(&store);
    load.goes_on().await;
    for slot in &moving {
        let (from, to) = (cluster.owner(*slot), (cluster.owner(*slot) + 1) % 3);
        cluster.begin_move(*slot, from, to);
        load.goes_on().await;
        // One key after the other, so that those of one call are in two places.
        while cluster.move_keys(*slot, from, to, 1) {
            load.goes_on().await;
        }
        cluster.end_move(*slot, from, to);
    }
    let last = load.end().await;
    must_be(&*store, last).await;
    let seen: String = cluster
        .nodes
        .iter()
        .map(|node| match node.command(&["INFO", "errorstats"]) {
            Reply::Bytes(stats) => String::from_utf8(stats).expect("text"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(!seen.contains("CROSSSLOT"), "{seen}");
    for error in ["errorstat_ASK:", "errorstat_MOVED:", "errorstat_TRYAGAIN:"] {
        assert!(seen.contains(error), "the test met no {error} in {seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_in_mid_run_loses_nothing_that_replicas_were_waited_for() {
    let mut cluster = RedisCluster::with_replicas(&[]);
    let store = store(&format!("{}&wait_replicas=1", cluster.uri()));
    let load = Load::start(&store);
    load.goes_on().await;
    // Not the node that the URI names only: that one is not needed to find the others either.
    cluster.nodes[0].kill();
    cluster.wait_for_failover(0);
    // The one that took over has no replica of its own before the dead one comes back as that.
    let before = load.progress.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(load.progress.load(Ordering::Relaxed) <= before + 1, "acknowledged what one server alone has");
    cluster.nodes[0].start_again();
    load.goes_on().await;
    let last = load.end().await;
    must_be(&*store, last).await;
    assert_ne!(cluster.nodes[3].command(&["DBSIZE"]), Reply::Number(0));
}

#[tokio::test]
async fn a_dead_node_holds_up_its_own_rows_alone_and_is_named() {
    let mut cluster = RedisCluster::start(&["--cluster-require-full-coverage", "no"]);
    let store = store(&cluster.uri());
    stored(&*store, &users(1)).await;
    let layout = cluster.owner(cluster.slot("test/__chalk_layout__"));
    let dead = (layout + 1) % 3;
    let name = format!("redis://127.0.0.1:{}", cluster.nodes[dead].port());
    let expected = names().filter(|name| cluster.owner(cluster.slot(&key(name))) == dead).count();
    cluster.nodes[dead].kill();
    let outcome = write(&*store, &users(2)).await.expect("the others are taken");
    assert_eq!((outcome.again.len(), outcome.stored as usize), (expected, 600 - expected));
    let reason = outcome.reason.expect("a reason");
    assert!(reason.starts_with(&name), "{reason}");
}

#[tokio::test]
async fn a_cluster_and_a_single_server_that_are_taken_for_one_another_are_told() {
    let cluster = RedisCluster::start(&[]);
    let told = |result: Result<_, SinkError>, what: &str| match result {
        Err(SinkError::Denied { reason }) => assert!(reason.contains(what), "{reason}"),
        other => panic!("expected a denial, found {other:?}"),
    };
    let single = store(&cluster.nodes[0].uri());
    told(write(&*single, &users(1)).await, "add `clustered=true` to the URI");
    let server = crate::redis::RedisServer::start(&[]);
    let clustered = store(&format!("{}?clustered=true", server.uri()));
    told(write(&*clustered, &users(1)).await, "leave `redis_is_clustered` and `clustered` out");
}

#[tokio::test]
async fn a_cluster_that_was_started_anew_gets_its_layout_back() {
    let cluster = RedisCluster::start(&[]);
    let store = store(&cluster.uri());
    stored(&*store, &users(1)).await;
    for node in &cluster.nodes {
        node.command(&["FLUSHALL"]);
        node.command(&["SCRIPT", "FLUSH"]);
        node.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    }
    stored(&*store, &users(2)).await;
    stored(&*store, &users(3)).await;
    assert_eq!(cluster.command(&["GET", "test/__chalk_layout__"]), Reply::Bytes(b"1".to_vec()));
    assert_eq!(read(&*store, &entity("0")).await.len(), 1);
}
