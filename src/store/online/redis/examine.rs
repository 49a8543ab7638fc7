//! A Redis examined for `doctor`: the server or cluster, its clock, its memory, its replicas, and what the user may do.
//!
//! Rights are found out by the way that writes go: a script, which removes a field from a key that is not there.

use std::collections::HashMap;

use fred::types::Value;

use super::layout::layout_key;
use super::session::Session;
use super::{Settings, topology, uri};
use crate::config::secret::expose;
use crate::store::StoreOptions;
use crate::store::examine::{Finding, clock, unreachable};
use crate::value::time::now;

/// Changes nothing: nobody has a key of such a name.
const TRY: &str = "return redis.call('HDEL', KEYS[1], 'x')";

pub(in crate::store) async fn examine(options: &StoreOptions) -> Vec<Finding> {
    let address = match uri::parse(expose(&options.fetched)) {
        Ok(address) => address,
        Err(error) => return vec![Finding::fail("reached", error.to_string(), "correct the URI")],
    };
    let settings: Settings = match options.own.read() {
        Ok(settings) => settings,
        Err(error) => return vec![Finding::fail("reached", error, "correct the settings")],
    };
    let wanted = super::replicas(options).unwrap_or(0);
    let topology = match topology(options, &settings, address) {
        Ok(topology) => topology,
        Err(error) => return vec![Finding::fail("reached", error.to_string(), "correct the settings")],
    };
    let prefix = &*options.cache_prefix;
    let key = layout_key(prefix);
    let session = async {
        topology.refresh(None).await?;
        let node = topology.owner(topology.slot(key.as_bytes()))?;
        Ok((node.session().await?, node))
    };
    let (session, node) = match session.await {
        Ok(found) => found,
        Err(trouble) => {
            let trouble: super::Trouble = trouble;
            return vec![unreachable(trouble.into())];
        }
    };
    let info = information(&session).await;
    let mut findings = vec![reached(&session, info.as_ref(), topology.clustered)];
    findings.extend(time(&session).await);
    findings.push(writable(&session, &format!("{prefix}__chalk_doctor__{}", uuid::Uuid::new_v4().simple())).await);
    node.give_back(session);
    findings.push(match topology.check_layout().await {
        Ok(()) => Finding::ok("layout", format!("`{key}` is ours, or free")),
        Err(trouble) => Finding::fail("layout", trouble.reason, "use another `cache_prefix` or database"),
    });
    match &info {
        Some(info) => findings.extend([memory(info), kept(info), replicas(info, wanted)]),
        None => findings.push(Finding::warn(
            "memory",
            "the user may not ask (`INFO`), so eviction, persistence and replicas are not known",
            "allow `+info` to it",
        )),
    }
    findings
}

/// What the server says of itself; `None` where the user may not ask.
async fn information(session: &Session) -> Option<HashMap<String, String>> {
    let text = session.send(false, "INFO", Vec::new()).await.ok()?.into_string()?;
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    Some(lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
}

fn reached(session: &Session, info: Option<&HashMap<String, String>>, clustered: bool) -> Finding {
    let get = |name: &str| info.and_then(|info| info.get(name)).map(String::as_str);
    let server = match (get("valkey_version"), get("redis_version")) {
        (Some(version), _) => format!("Valkey {version}"),
        (None, Some(version)) => format!("Redis {version}"),
        (None, None) => "a server of a version that it does not tell".to_owned(),
    };
    let is_cluster = get("cluster_enabled") == Some("1");
    let found = format!("{}: {server}{}", session.name, if is_cluster { ", a node of a cluster" } else { "" });
    if is_cluster && !clustered {
        let fix = "set `redis_is_clustered`, or `?clustered=true` in the URI";
        return Finding::fail("reached", format!("{found}, and it is not configured as one"), fix);
    }
    if get("role").is_some_and(|role| role != "master") {
        return Finding::fail("reached", format!("{found}, and a replica, which takes no writes"), "name the primary");
    }
    Finding::ok("reached", found)
}

async fn time(session: &Session) -> Option<Finding> {
    let asked = now();
    let reply = session.send(false, "TIME", Vec::new()).await.ok()?;
    let came = now();
    let parts: Vec<String> = reply.convert().ok()?;
    let [seconds, micros] = &parts[..] else { return None };
    let (seconds, micros): (i64, i64) = (seconds.parse().ok()?, micros.parse().ok()?);
    Some(clock(seconds * 1_000_000 + micros, asked, came))
}

async fn writable(session: &Session, key: &str) -> Finding {
    let arguments = [TRY, "1", key].map(Value::from);
    match session.send(false, "EVAL", arguments.into()).await {
        Ok(_) => {
            Finding::ok("writable", "a script that writes may run on keys of this prefix; it found nothing to remove")
        }
        Err(error) => Finding::fail(
            "writable",
            error.details().to_owned(),
            "allow the user scripts, reading and writing on keys of this prefix (docs/redis.md)",
        ),
    }
}

fn memory(info: &HashMap<String, String>) -> Finding {
    let number = |name: &str| info.get(name).and_then(|value| value.parse::<u64>().ok()).unwrap_or(0);
    let (used, most) = (number("used_memory"), number("maxmemory"));
    let policy = info.get("maxmemory_policy").map_or("noeviction", String::as_str);
    let of = if most == 0 { "no limit".to_owned() } else { format!("{} MiB", most >> 20) };
    let found = format!("{} MiB used of {of}, `maxmemory-policy` {policy}", used >> 20);
    if policy != "noeviction" {
        let fix = "set `maxmemory-policy noeviction`: as it is, entities go without a word when memory is short";
        return Finding::warn("memory", found, fix);
    }
    if most > 0 && used > most / 10 * 9 {
        return Finding::warn("memory", found, "give it more: a full one refuses, and the writer waits");
    }
    Finding::ok("memory", found)
}

fn kept(info: &HashMap<String, String>) -> Finding {
    if info.get("aof_enabled").is_some_and(|enabled| enabled == "1") {
        return Finding::ok("persistence", "append-only file; how much a crash loses is a matter of `appendfsync`");
    }
    Finding::warn(
        "persistence",
        "no append-only file: a crash loses what came after the last snapshot, acknowledged or not",
        "set `appendonly yes`, and `appendfsync always` where nothing may be lost; or read the topic again after a crash",
    )
}

fn replicas(info: &HashMap<String, String>, wanted: u32) -> Finding {
    let connected = info.get("connected_slaves").and_then(|value| value.parse::<u32>().ok()).unwrap_or(0);
    let found = format!("{connected} connected, `wait_replicas` {wanted}");
    if connected < wanted {
        return Finding::fail(
            "replicas",
            found,
            "connect as many, or lower `wait_replicas`: until then no write counts",
        );
    }
    if connected > 0 && wanted == 0 {
        let fix = "set `wait_replicas` to 1 or more: without, a failover loses what the replica had not got yet";
        return Finding::warn("replicas", found, fix);
    }
    Finding::ok("replicas", found)
}
