//! The embedded store, read as a file.

use std::path::PathBuf;

use super::{Online, Values, number};

pub struct Sqlite {
    pub path: PathBuf,
}

impl Online for Sqlite {
    fn read(&self, entities: &[u64]) -> Values {
        let database = rusqlite::Connection::open(&self.path).unwrap();
        // Whoever opens it first after a kill brings it in order, and nobody else may look meanwhile.
        database.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
        let mut query = database
            .prepare(
                "SELECT feature, value, observed_at FROM online_features
                 WHERE environment = 'prod' AND namespace = 'user' AND pkey = ?1",
            )
            .unwrap();
        let mut values = Values::new();
        for entity in entities {
            let mut rows = query.query([entity.to_string()]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let value: String = row.get(1).unwrap();
                let value = number(&serde_json::from_str(&value).unwrap());
                values.insert((*entity, row.get(0).unwrap()), (row.get(2).unwrap(), value));
            }
        }
        values
    }
}
