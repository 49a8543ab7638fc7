//! The table of one feature: found in `vector_tables`, and made when it is first needed.

use tokio_postgres::error::SqlState;

use super::session::Connection;
use crate::row::vector::{Point, VectorFeature};
use crate::sink::SinkError;
use crate::store::postgres::{SCHEMA, quoted, tables};
use crate::store::vector::names::{self, TABLES};
use crate::store::vector::{Made, fit};
use crate::value::Metric;
use crate::value::dtype::Precision;

/// Dimensions that pgvector indexes at the most.
const MOST_INDEXED: usize = 2_000;
const MOST_INDEXED_HALF: usize = 4_000;

const REGISTRY: &str = r#"
    CREATE TABLE IF NOT EXISTS {registry} (
        id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        namespace  text COLLATE "C" NOT NULL,
        feature    text COLLATE "C" NOT NULL,
        table_name text COLLATE "C" NOT NULL UNIQUE,
        dimension  integer,
        metric     text,
        precision  text,
        UNIQUE (namespace, feature)
    )"#;

/// A table has no vector before its dimension is known, but may have tombstones.
const TABLE: &str = r#"
    CREATE TABLE IF NOT EXISTS {table} (
        environment text COLLATE "C" NOT NULL,
        id          text COLLATE "C" NOT NULL,
        payload     jsonb,
        observed_at timestamptz NOT NULL,
        evicted     boolean NOT NULL,
        PRIMARY KEY (environment, id)
    );
    CREATE INDEX ON {table} (observed_at) WHERE evicted"#;

const EMBEDDING: &str = "
    ALTER TABLE {table} ADD COLUMN embedding {type}({dimension}),
        ADD CHECK (evicted = (embedding IS NULL))";

/// What a table is, is what the server says of its column.
const FIND: &str = "
    SELECT known.table_name, known.metric, columns.atttypmod, types.typname, relation.oid IS NOT NULL
    FROM {registry} AS known
    LEFT JOIN pg_namespace AS schema ON schema.nspname = $3
    LEFT JOIN pg_class AS relation ON relation.relnamespace = schema.oid AND relation.relname = known.table_name
    LEFT JOIN pg_attribute AS columns
        ON columns.attrelid = relation.oid AND columns.attname = 'embedding' AND NOT columns.attisdropped
    LEFT JOIN pg_type AS types ON types.oid = columns.atttypid
    WHERE known.namespace = $1 AND known.feature = $2";

const UPSERT: &str = "
    INSERT INTO {table} AS old (environment, id, {embedding} payload, observed_at, evicted)
    SELECT environment, id, {given} payload, observed_at, payload IS NULL
    FROM unnest($1::text[], $2::text[], $3::jsonb[], $4::timestamptz[] {parameter})
        AS given (environment, id, payload, observed_at {column})
    ON CONFLICT (environment, id) DO UPDATE
    SET {set} payload = excluded.payload, observed_at = excluded.observed_at, evicted = excluded.evicted
    WHERE excluded.observed_at > old.observed_at {tie}";

/// The order of [`order`](crate::store::vector): a tombstone before every vector, then elements, then the payload's
/// text by its bytes.
const TIE: &str = r#"
    OR (excluded.observed_at = old.observed_at
        AND (NOT excluded.evicted, excluded.embedding, excluded.payload::text COLLATE "C")
          > (NOT old.evicted, old.embedding, old.payload::text COLLATE "C"))"#;

/// One table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Its name with its schema, quoted.
    pub(super) name: String,
    /// `None` as long as there was no vector.
    pub(super) made: Option<Made>,
}

impl Table {
    /// What a vector makes of its table, where it is the first. Doubles are kept as singles.
    pub(super) fn of(point: &Point, metric: Metric) -> Made {
        let precision = match point.vector.precision() {
            Precision::Fp16 => Precision::Fp16,
            Precision::Fp32 | Precision::Fp64 => Precision::Fp32,
        };
        Made { dimension: point.vector.dimension(), metric, precision }
    }

    /// The table of a feature; `None` where it is still to be made.
    pub(super) async fn find(connection: &Connection, feature: &VectorFeature) -> Result<Option<Self>, SinkError> {
        Ok(Self::known(connection, feature).await?.filter(|known| known.exists).map(|known| known.table))
    }

    async fn known(connection: &Connection, feature: &VectorFeature) -> Result<Option<Known>, SinkError> {
        let schema = connection.address.schema(SCHEMA);
        let text = FIND.replace("{registry}", &registry(schema));
        let (namespace, name) = (&*feature.namespace, &*feature.name);
        if namespace.contains('\0') || name.contains('\0') {
            return Ok(None);
        }
        let found = match connection.answer(connection.client.query(&text, &[&namespace, &name, &schema])).await? {
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => return Ok(None),
            found => found.map_err(|error| tables::never_of_a_row(connection.failure(&error)))?,
        };
        let Some(row) = found.first() else { return Ok(None) };
        let not_ours = |what: String| SinkError::Transient {
            reason: format!("{}: the table of vectors of `{feature}` is not this store's: {what}", connection.address),
        };
        let column = |error: tokio_postgres::Error| not_ours(error.to_string());
        let table: String = row.try_get(0).map_err(column)?;
        let metric: Option<String> = row.try_get(1).map_err(column)?;
        let (dimension, kind): (Option<i32>, Option<String>) =
            (row.try_get(2).map_err(column)?, row.try_get(3).map_err(column)?);
        let exists: bool = row.try_get(4).map_err(column)?;
        let made = match (dimension, kind) {
            (Some(dimension), Some(kind)) => {
                let precision = match kind.as_str() {
                    "vector" => Precision::Fp32,
                    "halfvec" => Precision::Fp16,
                    _ => return Err(not_ours(format!("its column `embedding` is of type {kind}"))),
                };
                let dimension = usize::try_from(dimension)
                    .map_err(|_| not_ours("its column `embedding` has no dimension".to_owned()))?;
                let metric = metric.as_deref().unwrap_or_default().parse().map_err(not_ours)?;
                Some(Made { dimension, metric, precision })
            }
            _ => None,
        };
        let name = format!("{}.{}", quoted(schema), quoted(&table));
        Ok(Some(Known { table: Self { name, made }, exists }))
    }

    /// The table of a feature, made where it is missing; and its column of vectors, where `first` is the first.
    pub(super) async fn made(
        connection: &Connection,
        feature: &VectorFeature,
        first: Option<Made>,
    ) -> Result<Self, SinkError> {
        let enough = |table: &Self| table.made.is_some() || first.is_none();
        if let Some(table) = Self::find(connection, feature).await?.filter(enough) {
            return Ok(table);
        }
        let schema = connection.address.schema(SCHEMA);
        let registry = registry(schema);
        if !tables::is_there(connection, &registry).await? {
            tables::create(connection, schema, &registry, &REGISTRY.replace("{registry}", &registry)).await?;
        }
        // Others may have made it meanwhile; from here on none can.
        tables::begin_alone(connection, &registry).await?;
        let mut table = match Self::known(connection, feature).await? {
            Some(known) => {
                if !known.exists {
                    run(connection, &TABLE.replace("{table}", &known.table.name)).await?;
                }
                known.table
            }
            None => {
                let count = format!("SELECT count(*) FROM {registry}");
                let found = connection.query(&count, &[]).await.map_err(tables::never_of_a_row)?;
                if found.first().is_some_and(|row| row.get::<_, i64>(0) >= fit::MOST_FEATURES) {
                    return Err(SinkError::Poisoned(fit::too_many(feature)));
                }
                create(connection, feature, &registry).await?
            }
        };
        if let (None, Some(first)) = (table.made, first) {
            table.settle(connection, feature, first, &registry).await?;
        }
        run(connection, "COMMIT").await?;
        Ok(table)
    }

    async fn settle(
        &mut self,
        connection: &Connection,
        feature: &VectorFeature,
        made: Made,
        registry: &str,
    ) -> Result<(), SinkError> {
        let Made { dimension, metric, precision } = made;
        let (kind, most) = match precision {
            Precision::Fp16 => ("halfvec", MOST_INDEXED_HALF),
            Precision::Fp32 | Precision::Fp64 => ("vector", MOST_INDEXED),
        };
        let text = EMBEDDING.replace("{type}", kind).replace("{dimension}", &dimension.to_string());
        run(connection, &text.replace("{table}", &self.name)).await?;
        if dimension <= most {
            let operators = match metric {
                Metric::L2 => "l2",
                Metric::Ip => "ip",
                Metric::Cos => "cosine",
            };
            let index = format!("CREATE INDEX ON {} USING hnsw (embedding {kind}_{operators}_ops)", self.name);
            run(connection, &index).await?;
        } else {
            tracing::warn!(%feature, dimension, most, "pgvector has no index for so many dimensions; the table has none");
        }
        let update = format!(
            "UPDATE {registry} SET dimension = $3, metric = $4, precision = $5 WHERE namespace = $1 AND feature = $2"
        );
        let (namespace, name, dimension) = (&*feature.namespace, &*feature.name, dimension as i32);
        let done =
            connection.execute(&update, &[&namespace, &name, &dimension, &metric.as_str(), &precision.as_str()]).await;
        done.map_err(tables::never_of_a_row)?;
        self.made = Some(made);
        Ok(())
    }

    /// The statement that writes into it.
    pub(super) fn upsert(&self) -> String {
        let fill = |parts: [(&str, &str); 6]| {
            let text = UPSERT.replace("{table}", &self.name);
            parts.into_iter().fold(text, |text, (name, part)| text.replace(name, part))
        };
        let Some(Made { dimension, precision, .. }) = self.made else {
            // There is no vector in it: a tombstone and another of the same time are the same.
            return fill(
                ["{embedding}", "{given}", "{parameter}", "{column}", "{set}", "{tie}"].map(|name| (name, "")),
            );
        };
        let kind = if precision == Precision::Fp16 { "halfvec" } else { "vector" };
        fill([
            ("{embedding}", "embedding,"),
            ("{given}", &format!("embedding::{kind}({dimension}),")),
            ("{parameter}", ", $5::text[]"),
            ("{column}", ", embedding"),
            ("{set}", "embedding = excluded.embedding,"),
            ("{tie}", TIE),
        ])
    }
}

/// What `vector_tables` says of a feature, and whether its table is there.
struct Known {
    table: Table,
    exists: bool,
}

fn registry(schema: &str) -> String {
    format!("{}.{TABLES}", quoted(schema))
}

async fn create(connection: &Connection, feature: &VectorFeature, registry: &str) -> Result<Table, SinkError> {
    let schema = connection.address.schema(SCHEMA);
    let (mut table, mut name) = (String::new(), String::new());
    for candidate in names::candidates(feature) {
        name = format!("{}.{}", quoted(schema), quoted(&candidate));
        table = candidate;
        if !tables::is_there(connection, &name).await? {
            break;
        }
    }
    let insert = format!("INSERT INTO {registry} (namespace, feature, table_name) VALUES ($1, $2, $3)");
    let (namespace, of) = (&*feature.namespace, &*feature.name);
    connection.execute(&insert, &[&namespace, &of, &table]).await.map_err(tables::never_of_a_row)?;
    run(connection, &TABLE.replace("{table}", &name)).await?;
    Ok(Table { name, made: None })
}

async fn run(connection: &Connection, text: &str) -> Result<(), SinkError> {
    connection.run(text).await.map_err(tables::never_of_a_row)
}
