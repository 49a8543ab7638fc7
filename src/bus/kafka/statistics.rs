//! The few of librdkafka's statistics that are used, and what they tell of who can be read.
//!
//! Nothing comes as an error where one broker of several is away: its partitions are silent, as if nobody sent anything.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;

/// What librdkafka tells every second.
#[derive(Deserialize)]
pub(super) struct Statistics {
    #[serde(default)]
    brokers: BTreeMap<String, Broker>,
    #[serde(default)]
    topics: BTreeMap<String, Topic>,
}

#[derive(Deserialize)]
struct Broker {
    nodeid: i32,
    nodename: String,
    state: String,
    /// Requests that it has not answered yet.
    waitresp_cnt: i64,
    /// Microseconds since anything came from it.
    rxidle: i64,
}

#[derive(Deserialize)]
struct Topic {
    partitions: BTreeMap<String, Partition>,
}

/// One partition.
#[derive(Deserialize)]
pub(super) struct Partition {
    pub(super) partition: i32,
    /// The broker that it is fetched from; -1 where there is none.
    broker: i32,
    /// The broker that leads it, as far as the client knows; -1 where there is none.
    leader: i32,
    /// The end of what is replicated; below zero where nothing has told it.
    hi_offset: i64,
    /// The end of what is committed: the beginning of the oldest transaction that is open, or the same.
    ls_offset: i64,
}

impl Partition {
    /// The end of what may be read, and that of what is there.
    pub(super) fn ends(&self) -> Option<(i64, i64)> {
        (self.ls_offset >= 0).then(|| (self.ls_offset, self.hi_offset.max(self.ls_offset)))
    }
}

impl Statistics {
    /// Nothing where it is no text of librdkafka's.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// Whether any broker is connected.
    pub(super) fn is_connected(&self) -> bool {
        self.brokers.values().any(|broker| broker.nodeid >= 0 && broker.state == "UP")
    }

    /// What is known of the partitions of a topic.
    pub(super) fn partitions(&self, topic: &str) -> impl Iterator<Item = &Partition> {
        self.topics.get(topic).into_iter().flat_map(|topic| topic.partitions.values())
    }

    /// Why nothing comes from a partition. A broker that has been asked and silent for longer than `silent` is taken to be away.
    fn away(&self, partition: &Partition, silent: Duration) -> Option<String> {
        let serves = if partition.broker >= 0 { partition.broker } else { partition.leader };
        if serves < 0 {
            return Some(
                "no broker leads it: those that have a copy of it are down, or none of them may take over".to_owned(),
            );
        }
        let Some(broker) = self.brokers.values().find(|broker| broker.nodeid == serves) else {
            return Some(format!("broker {serves}, which leads it, is not known yet"));
        };
        let name = format!("broker {serves} ({}), which leads it,", broker.nodename);
        match broker.state.as_str() {
            "UP" | "REAUTH" => {
                let idle = Duration::from_micros(broker.rxidle.max(0).unsigned_abs());
                (broker.waitresp_cnt > 0 && idle > silent).then(|| format!("{name} does not answer"))
            }
            state => Some(format!("{name} is not reached ({state})")),
        }
    }
}

/// Since when each partition cannot be read, and why.
#[derive(Default)]
pub(super) struct Away(BTreeMap<i32, (Instant, String)>);

impl Away {
    /// Takes what was told last.
    pub(super) fn hear(&mut self, statistics: &Statistics, topic: &str, silent: Duration) {
        for partition in statistics.partitions(topic) {
            match statistics.away(partition, silent) {
                Some(why) => {
                    self.0.entry(partition.partition).or_insert_with(|| (Instant::now(), String::new())).1 = why;
                }
                None => {
                    self.0.remove(&partition.partition);
                }
            }
        }
    }

    /// Since when a partition cannot be read, and why; nothing of one that can.
    pub(super) fn of(&self, partition: i32) -> Option<(Instant, String)> {
        self.0.get(&partition).cloned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn statistics(partitions: &[(i32, i32, i32)]) -> Statistics {
        let broker = |nodeid: i32, state: &str, waitresp_cnt: i64, rxidle: i64| json!({"nodeid": nodeid, "nodename": format!("b:{nodeid}"), "state": state, "waitresp_cnt": waitresp_cnt, "rxidle": rxidle});
        let partition = |&(number, broker, leader): &(i32, i32, i32)| {
            let told = json!({"partition": number, "broker": broker, "leader": leader, "hi_offset": 9, "ls_offset": 7});
            (number.to_string(), told)
        };
        let told = json!({
            "brokers": {
                "b:1/1": broker(1, "UP", 1, 100_000), "b:2/2": broker(2, "TRY_CONNECT", 0, -1),
                "b:3/3": broker(3, "UP", 1, 30_000_000), "b:4/4": broker(4, "UP", 0, 30_000_000),
            },
            "topics": {"t": {"partitions": partitions.iter().map(partition).collect::<serde_json::Map<_, _>>()}},
        });
        Statistics::read(told.to_string().as_bytes()).expect("as librdkafka tells it")
    }

    #[test]
    fn a_partition_is_away_with_the_broker_that_serves_it() {
        let mut away = Away::default();
        let silent = Duration::from_secs(10);
        // Led by 1, by nobody, by one that is down, by one that is silent, by one that was asked nothing; a copy is read.
        let told = [(0, 1, 1), (1, -1, -1), (2, -1, 2), (3, 3, 3), (4, 4, 4), (5, 1, 2), (6, -1, 7)];
        away.hear(&statistics(&told), "t", silent);
        let why = |away: &Away, partition| away.of(partition).map(|(_, why)| why);
        assert_eq!([0, 4, 5].map(|partition| why(&away, partition)), [None, None, None]);
        for (partition, words) in [
            (1, "no broker leads it"),
            (2, "broker 2 (b:2), which leads it, is not reached (TRY_CONNECT)"),
            (3, "broker 3 (b:3), which leads it, does not answer"),
            (6, "broker 7, which leads it, is not known"),
        ] {
            let why = why(&away, partition).expect("away");
            assert!(why.contains(words), "{partition}: {why}");
        }
        let since = away.of(1).expect("away").0;
        away.hear(&statistics(&[(1, -1, 2), (2, 1, 1)]), "t", silent);
        assert_eq!(
            (away.of(1).expect("still away").0, why(&away, 2)),
            (since, None),
            "another reason is no new beginning"
        );
    }

    #[test]
    fn what_a_transaction_holds_back_is_told() {
        let told = statistics(&[(0, 1, 1)]);
        assert_eq!(told.partitions("t").filter_map(Partition::ends).collect::<Vec<_>>(), [(7, 9)]);
        assert!(told.is_connected());
    }
}
