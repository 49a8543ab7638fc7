//! The table and the statements on it. Names and values that come from messages are parameters, always;
//! the schema, which comes from the URI, is quoted.

use crate::store::postgres::{ONLINE_TABLE, quoted};

/// Keys are compared by their bytes, so their order here is that of the index and of [`super::chunks`].
const TABLE: &str = r#"
    CREATE TABLE IF NOT EXISTS {table} (
        environment text COLLATE "C" NOT NULL,
        namespace   text COLLATE "C" NOT NULL,
        pkey        text COLLATE "C" NOT NULL,
        feature     text COLLATE "C" NOT NULL,
        value       jsonb,
        observed_at timestamptz NOT NULL,
        expires_at  timestamptz,
        evicted     boolean NOT NULL CHECK (evicted = (value IS NULL)),
        PRIMARY KEY (environment, namespace, pkey, feature)
    )"#;

const GIVEN: &str = "
    unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::timestamptz[], $7::timestamptz[])
        AS given (environment, namespace, pkey, feature, value, observed_at, expires_at)";

/// The order of `merge`: time, then no value before null before any other, then text by its bytes, then
/// expiry, `infinity` standing for never and later than every other.
///
/// The text is made only where the times are equal.
const WINS: &str = r#"
    {new}.observed_at > old.observed_at
    OR ({new}.observed_at = old.observed_at
        AND ({new}.value IS NOT NULL, coalesce({new}.value <> 'null', false),
             coalesce({new}.value::text, '') COLLATE "C", coalesce({new}.expires_at, 'infinity'))
          > (old.value IS NOT NULL, coalesce(old.value <> 'null', false),
             coalesce(old.value::text, '') COLLATE "C", coalesce(old.expires_at, 'infinity')))"#;

const UPSERT: &str = "
    INSERT INTO {table} AS old (environment, namespace, pkey, feature, value, observed_at, expires_at, evicted)
    SELECT environment, namespace, pkey, feature, value, observed_at, expires_at, value IS NULL FROM {given}
    ON CONFLICT (environment, namespace, pkey, feature) DO UPDATE
    SET value = excluded.value, observed_at = excluded.observed_at,
        expires_at = excluded.expires_at, evicted = excluded.evicted
    WHERE {wins}";

/// Values that have expired take what they would replace with them.
const EXPIRED: &str = "
    DELETE FROM {table} AS old USING {given}
    WHERE old.environment = given.environment AND old.namespace = given.namespace
      AND old.pkey = given.pkey AND old.feature = given.feature AND ({wins})";

const READ: &str = "
    SELECT feature, value::text, observed_at, expires_at FROM {table}
    WHERE environment = $1 AND namespace = $2 AND pkey = $3 ORDER BY feature";

/// The last key of the stretch that begins after a key.
const STRETCH: &str = "
    SELECT environment, namespace, pkey, feature FROM {table}
    WHERE (environment, namespace, pkey, feature) > ($1, $2, $3, $4)
    ORDER BY environment, namespace, pkey, feature OFFSET $5 LIMIT 1";

/// Takes only what nobody else holds, so that it never waits for another writer.
const SWEEP: &str = "
    DELETE FROM {table} WHERE (environment, namespace, pkey, feature) IN (
        SELECT environment, namespace, pkey, feature FROM {table}
        WHERE (environment, namespace, pkey, feature) > ($1, $2, $3, $4)
          AND ($5::text IS NULL OR (environment, namespace, pkey, feature) <= ($5, $6, $7, $8))
          AND expires_at <= now()
        FOR UPDATE SKIP LOCKED)";

/// The statements of one schema.
pub(super) struct Statements {
    pub(super) table: String,
    pub(super) create: String,
    pub(super) upsert: String,
    pub(super) expired: String,
    pub(super) read: String,
    pub(super) stretch: String,
    pub(super) sweep: String,
}

impl Statements {
    pub(super) fn new(schema: &str) -> Self {
        let table = format!("{}.{ONLINE_TABLE}", quoted(schema));
        let fill = |text: &str, new: &str| {
            let text = text.replace("{wins}", WINS).replace("{given}", GIVEN).replace("{new}", new);
            text.replace("{table}", &table)
        };
        Self {
            create: fill(TABLE, ""),
            upsert: fill(UPSERT, "excluded"),
            expired: fill(EXPIRED, "given"),
            read: fill(READ, ""),
            stretch: fill(STRETCH, ""),
            sweep: fill(SWEEP, ""),
            table,
        }
    }
}
