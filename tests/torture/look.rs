//! Reads the stores by other means than the writer's own.

mod lake;
mod postgres;
mod redis;
mod sqlite;

use std::collections::{BTreeMap, HashMap, HashSet};

pub use lake::{Lake, parquet_files};
pub use postgres::{PostgresFeatures, PostgresHistory};
pub use redis::Redis;
pub use sqlite::Sqlite;

/// Time and number of each feature, as a store holds them.
pub type Values = HashMap<(u64, String), (i64, i64)>;

/// Reads a store of features.
pub trait Online {
    /// Everything that is stored of some entities.
    fn read(&self, entities: &[u64]) -> Values;
}

/// Reads a store of history.
pub trait Offline {
    /// Brings what was read before up to what there is now.
    fn read(&mut self, history: &mut History);
}

/// What is in a store of history.
#[derive(Default)]
pub struct History {
    /// How often each row of history is there, by number of its message and entity.
    pub rows: BTreeMap<(i64, u64), usize>,
    pub observation_ids: HashSet<String>,
    /// How often each message is in the query log, by its number.
    pub queries: BTreeMap<i64, usize>,
    /// What no writer could have made.
    pub nonsense: Vec<String>,
}

impl History {
    /// Rows of history that were written again.
    pub fn doubled(&self) -> usize {
        self.rows.values().map(|times| times - 1).sum()
    }

    fn add_row(&mut self, id: &str, operation: &str, entity: u64, number: i64) {
        self.observation_ids.insert(id.to_owned());
        let key = (number_of(operation), entity);
        *self.rows.entry(key).or_default() += 1;
        if key.0 != number {
            self.nonsense.push(format!("{operation} has number {number}"));
        }
    }

    fn add_query(&mut self, operation: &str) {
        *self.queries.entry(number_of(operation)).or_default() += 1;
    }
}

fn number_of(operation: &str) -> i64 {
    operation.strip_prefix("op-").and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{operation}"))
}

/// The number in a value: every feature of a message holds the message's number.
fn number(value: &serde_json::Value) -> i64 {
    match value {
        // The text holds an emoji and an accent beside the number, and nothing else with digits.
        serde_json::Value::String(text) => {
            text.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap()
        }
        other => other.as_f64().unwrap() as i64,
    }
}
