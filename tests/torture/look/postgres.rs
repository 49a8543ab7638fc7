//! Both kinds of store in Postgres, read with `psql` by the superuser.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use super::{History, Offline, Online, Values, number};
use crate::postgres::PostgresServer;

pub struct PostgresFeatures {
    pub server: Rc<RefCell<PostgresServer>>,
}

impl Online for PostgresFeatures {
    fn read(&self, entities: &[u64]) -> Values {
        let entities: HashSet<u64> = entities.iter().copied().collect();
        let mut values = Values::new();
        let query =
            "SELECT pkey, feature, (extract(epoch FROM observed_at) * 1000000)::bigint, value FROM online_features
             WHERE environment = 'prod' AND namespace = 'user'";
        each(&self.server.borrow(), query, |line| {
            let [entity, feature, time, value] = columns(line);
            let entity = entity.parse().unwrap();
            if entities.contains(&entity) {
                let value = number(&serde_json::from_str(&value.replace("\\\\", "\\")).unwrap());
                values.insert((entity, feature.to_owned()), (time.parse().unwrap(), value));
            }
        });
        values
    }
}

pub struct PostgresHistory {
    server: Rc<RefCell<PostgresServer>>,
}

impl PostgresHistory {
    pub fn new(server: Rc<RefCell<PostgresServer>>) -> Self {
        Self { server }
    }
}

impl Offline for PostgresHistory {
    /// All of it again: rows of tables, unlike files, may change.
    fn read(&mut self, history: &mut History) {
        *history = History::default();
        let server = self.server.borrow();
        each(&server, "SELECT __observation_id__, __operation_id__, __id__, seq FROM \"user\"", |line| {
            let [id, operation, entity, number] = columns(line);
            history.add_row(id, operation, entity.parse().unwrap(), number.parse().unwrap());
        });
        each(&server, "SELECT operation_id FROM query_log", |operation| history.add_query(operation));
    }
}

/// Shows each line of what a query finds; none as long as its table is not made.
fn each(server: &PostgresServer, query: &str, show: impl FnMut(&str)) {
    match server.each_row(query, show) {
        Err(error) if error.contains("does not exist") => {}
        other => other.unwrap_or_else(|error| panic!("{query}: {error}")),
    }
}

fn columns<const N: usize>(line: &str) -> [&str; N] {
    let columns: Vec<&str> = line.splitn(N, '|').collect();
    columns.try_into().unwrap_or_else(|columns| panic!("{columns:?}"))
}
