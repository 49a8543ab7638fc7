//! The embedded bus: a file, which no restart disturbs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chalk_writer::bus::{self, BrowseFrom, Bus, Publisher};
use chalk_writer::config::settings::{BusSettings, LocalSettings};
use chalk_writer::message::{Headers, Message, Outgoing};

use super::{LETTERS, Parked, Place, Record, Sending, TestBus, Topic, parked, record};

pub struct Local {
    path: PathBuf,
    runtime: tokio::runtime::Runtime,
    bus: Arc<dyn Bus>,
    publisher: Arc<dyn Publisher>,
    letters_read: i64,
}

impl Local {
    pub fn new(folder: &Path, topics: &[Topic]) -> Self {
        let path = folder.join("bus.sqlite");
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let bus = bus::open(&BusSettings::Local(LocalSettings { path: path.clone() })).unwrap();
        let publisher = runtime.block_on(async {
            for (topic, partitions) in topics.iter().chain([&LETTERS]) {
                bus.create_topic(topic, *partitions as u32).await.unwrap();
            }
            bus.publisher().await.unwrap()
        });
        Self { path, runtime, bus, publisher, letters_read: 0 }
    }
}

impl TestBus for Local {
    fn name(&self) -> &'static str {
        "LOCAL"
    }

    fn configure(&self, config: &mut serde_json::Value) {
        config["common_persistence_specs"]["bus_backend"] = "LOCAL".into();
        config["local_bus_path"] = self.path.to_str().unwrap().into();
    }

    fn publish(&mut self, messages: &[&Sending]) -> Option<Vec<Place>> {
        let messages: Vec<Outgoing> = messages
            .iter()
            .map(|message| Outgoing {
                topic: message.topic.to_owned(),
                key: Some(message.key.clone().into()),
                payload: Some(message.packed.body.clone().into()),
                headers: message.headers().collect::<Headers>(),
                ..Outgoing::default()
            })
            .collect();
        let placed = match self.runtime.block_on(self.publisher.publish(&messages)) {
            Ok(placed) => placed,
            // A process that was stopped in a transaction keeps the file locked until it wakes.
            Err(error) if error.reason().is_transient() => return None,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(placed.len(), messages.len());
        Some(placed.iter().map(|placed| Place { partition: placed.partition.number, offset: placed.offset }).collect())
    }

    fn restart(&mut self) -> bool {
        false
    }

    fn lose_one(&mut self) -> bool {
        false
    }

    fn regain_one(&mut self) {}

    fn ends(&mut self, topic: &str) -> BTreeMap<i32, i64> {
        self.numbers(
            "SELECT p.number, p.next_offset FROM partitions p JOIN topics t ON t.id = p.topic WHERE t.name = ?1",
            [topic],
        )
    }

    fn committed(&mut self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        self.numbers(
            "SELECT p.number, coalesce(g.position, 0) FROM partitions p JOIN topics t ON t.id = p.topic
             LEFT JOIN positions g ON g.partition = p.id AND g.group_name = ?1 WHERE t.name = ?2",
            [group, topic],
        )
    }

    fn new_records(&mut self) -> Vec<Record> {
        let messages = self.browse(LETTERS.0, BrowseFrom::Position(0, self.letters_read));
        self.letters_read = messages.last().map_or(self.letters_read, |last| last.offset + 1);
        messages
            .iter()
            .map(|message| record(message.offset, message.body(), |name| message.headers.get_str(name)))
            .collect()
    }

    fn bodies(&mut self, topic: &str) -> Vec<Vec<u8>> {
        self.browse(topic, BrowseFrom::Earliest).iter().map(|message| message.body().to_vec()).collect()
    }

    fn parked(&mut self, topic: &str) -> Vec<Parked> {
        let all = self.browse(topic, BrowseFrom::Earliest);
        let one = |message: &Message| {
            let at = (message.partition.number, message.offset);
            parked(at, message.key.as_deref(), |name| message.headers.get_str(name))
        };
        all.iter().map(one).collect()
    }

    /// It is in the file that everything is in.
    fn delete_letters(&mut self) -> bool {
        false
    }

    fn create_letters(&mut self) {}
}

impl Local {
    fn browse(&self, topic: &str, from: BrowseFrom) -> Vec<Message> {
        self.runtime.block_on(async {
            let mut browse = self.bus.browse(topic, from).await.unwrap();
            let mut all = Vec::new();
            loop {
                let messages = browse.next().await.unwrap();
                if messages.is_empty() {
                    return all;
                }
                all.extend(messages);
            }
        })
    }

    /// A number of each partition. Not through the writer's own code: this is what it is judged by.
    fn numbers<const N: usize>(&self, query: &str, of: [&str; N]) -> BTreeMap<i32, i64> {
        let file = rusqlite::Connection::open(&self.path).unwrap();
        file.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
        let mut query = file.prepare(query).unwrap();
        let rows = query.query_map(rusqlite::params_from_iter(of), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }
}
