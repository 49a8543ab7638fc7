//! The tables of one feature: found in `vector_tables`, and made when they are first needed.

use rusqlite::{Connection, OptionalExtension, params};

use crate::row::vector::VectorFeature;
use crate::store::postgres::quoted;
use crate::store::vector::{Made, names};
use crate::value::Metric;
use crate::value::dtype::Precision;

/// Dimensions that sqlite-vec indexes at the most.
const MOST_DIMENSIONS: usize = 8_192;

/// The tables of all features.
pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS vector_tables (
        id         INTEGER PRIMARY KEY,
        namespace  TEXT NOT NULL,
        feature    TEXT NOT NULL,
        table_name TEXT NOT NULL UNIQUE,
        index_name TEXT,
        dimension  INTEGER,
        metric     TEXT,
        precision  TEXT,
        UNIQUE (namespace, feature)
    )";

/// A table has no vector before its dimension is known, but may have tombstones.
const TABLE: &str = "
    CREATE TABLE {table} (
        key         INTEGER PRIMARY KEY,
        environment TEXT NOT NULL,
        id          TEXT NOT NULL,
        embedding   BLOB,
        payload     TEXT,
        observed_at INTEGER NOT NULL,
        evicted     INTEGER NOT NULL CHECK (evicted = (embedding IS NULL)),
        UNIQUE (environment, id)
    );
    CREATE INDEX vector_tombstones_{id} ON {table} (observed_at) WHERE evicted = 1";

const FIND: &str = "
    SELECT id, table_name, index_name, dimension, metric, precision FROM vector_tables
    WHERE namespace = ?1 AND feature = ?2";

/// The tables of one feature.
#[derive(Clone, Debug)]
pub(super) struct Table {
    id: i64,
    /// The table's name, quoted.
    pub(super) name: String,
    /// The index's, where it has one.
    pub(super) index: Option<String>,
    /// `None` as long as there was no vector.
    pub(super) made: Option<Made>,
}

impl Table {
    /// The tables of a feature; `None` where they are still to be made.
    pub(super) fn find(connection: &Connection, feature: &VectorFeature) -> rusqlite::Result<Option<Self>> {
        let mut statement = connection.prepare_cached(FIND)?;
        let found = statement.query_row(params![&*feature.namespace, &*feature.name], |row| {
            let (name, index): (String, Option<String>) = (row.get(1)?, row.get(2)?);
            let (dimension, metric, precision): (Option<i64>, Option<String>, Option<String>) =
                (row.get(3)?, row.get(4)?, row.get(5)?);
            let made = match (dimension, metric, precision) {
                (Some(dimension), Some(metric), Some(precision)) => Some(Made {
                    dimension: dimension as usize,
                    metric: metric.parse().map_err(|error| not_ours(4, error))?,
                    precision: self::precision(&precision).ok_or_else(|| not_ours(5, precision))?,
                }),
                _ => None,
            };
            Ok(Self { id: row.get(0)?, name: quoted(&name), index: index.as_deref().map(quoted), made })
        });
        found.optional()
    }

    /// How many features have tables.
    pub(super) fn count(connection: &Connection) -> rusqlite::Result<i64> {
        connection.query_row("SELECT count(*) FROM vector_tables", [], |row| row.get(0))
    }

    /// Makes the table of a feature, in the transaction that is open.
    pub(super) fn create(connection: &Connection, feature: &VectorFeature) -> rusqlite::Result<Self> {
        let taken = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = ?1 COLLATE NOCASE)";
        let mut name = String::new();
        for candidate in names::candidates(feature) {
            name = candidate;
            if !connection.query_row(taken, [&name], |row| row.get::<_, bool>(0))? {
                break;
            }
        }
        let insert = "INSERT INTO vector_tables (namespace, feature, table_name) VALUES (?1, ?2, ?3)";
        connection.execute(insert, params![&*feature.namespace, &*feature.name, name])?;
        let (id, name) = (connection.last_insert_rowid(), quoted(&name));
        connection.execute_batch(&TABLE.replace("{table}", &name).replace("{id}", &id.to_string()))?;
        Ok(Self { id, name, index: None, made: None })
    }

    /// Settles what its vectors are, and makes its index where sqlite-vec has one for them.
    pub(super) fn settle(&mut self, connection: &Connection, made: Made) -> rusqlite::Result<()> {
        let Made { dimension, metric, precision } = made;
        let distance = match metric {
            Metric::L2 => Some("l2"),
            Metric::Cos => Some("cosine"),
            Metric::Ip => None,
        };
        let index = distance.filter(|_| dimension <= MOST_DIMENSIONS).map(|_| format!("vector_index_{}", self.id));
        if let (Some(index), Some(distance)) = (&index, distance) {
            // The number is new: an index of this name is left over from a table that somebody has dropped.
            connection.execute_batch(&format!(
                "DROP TABLE IF EXISTS {index}; CREATE VIRTUAL TABLE {index} USING vec0 \
                 (environment text partition key, embedding float[{dimension}] distance_metric={distance})"
            ))?;
        }
        let update =
            "UPDATE vector_tables SET index_name = ?2, dimension = ?3, metric = ?4, precision = ?5 WHERE id = ?1";
        let dimension = dimension as i64;
        connection.execute(update, params![self.id, index, dimension, metric.as_str(), precision.as_str()])?;
        self.made = Some(made);
        self.index = index;
        Ok(())
    }
}

/// A precision by its name.
fn precision(text: &str) -> Option<Precision> {
    [Precision::Fp16, Precision::Fp32, Precision::Fp64].into_iter().find(|known| known.as_str() == text)
}

/// What somebody else wrote into `vector_tables`.
fn not_ours(column: usize, text: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, text.into())
}
