//! What the role may do, against what the sinks do: by the catalogue's word, since nothing is tried.
//!
//! A role that only writes to tables that somebody else made is as good as one that makes them; `docs/postgres.md` has
//! both, and a test holds it against this.

use crate::config::StoreKind;
use crate::sink::SinkError;
use crate::store::examine::Finding;
use crate::store::look;
use crate::store::postgres::connection::Connection;
use crate::store::postgres::{ONLINE_TABLE, SCHEMA, quoted};

const RIGHTS: &str = "
    SELECT to_regnamespace($1) IS NOT NULL,
           CASE WHEN to_regnamespace($1) IS NULL THEN has_database_privilege(current_database(), 'CREATE')
                ELSE has_schema_privilege($2::text, 'USAGE') END,
           CASE WHEN to_regnamespace($1) IS NULL THEN has_database_privilege(current_database(), 'CREATE')
                ELSE has_schema_privilege($2::text, 'CREATE') END,
           has_database_privilege(current_database(), 'TEMPORARY'), current_database()::text, current_user::text";

const TABLES: &str = "
    SELECT class.relname::text,
           ARRAY(SELECT needed FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS needed
                 WHERE NOT has_table_privilege(class.oid, needed)),
           pg_has_role(class.relowner, 'USAGE')
    FROM pg_class class JOIN pg_namespace space ON space.oid = class.relnamespace
    WHERE space.nspname = $1 AND class.relkind IN ('r', 'p') ORDER BY 1";

const READ: &[&str] = &["SELECT"];
const APPEND: &[&str] = &["SELECT", "INSERT"];
const REPLACE: &[&str] = &["SELECT", "INSERT", "UPDATE"];
const REMOVE: &[&str] = &["SELECT", "INSERT", "UPDATE", "DELETE"];

/// What a store of a kind does with a table in its schema; `None` where that is not one of its own.
fn needed(kind: StoreKind, table: &str) -> Option<&'static [&'static str]> {
    match (kind, table) {
        // Values that have expired, and tombstones, are removed.
        (StoreKind::Online, ONLINE_TABLE) => Some(REMOVE),
        (StoreKind::Vector, "vector_tables") => Some(READ),
        (StoreKind::Vector, table) if table.starts_with("vectors_") => Some(REMOVE),
        (StoreKind::Online | StoreKind::Vector, _) | (StoreKind::Offline, ONLINE_TABLE) => None,
        // The tables in which a later row takes the place of an earlier one; all others are appended to.
        (StoreKind::Offline, "query_log") | (StoreKind::Metrics, "queries") => Some(REPLACE),
        (StoreKind::Offline | StoreKind::Metrics | StoreKind::Usage, _) => Some(APPEND),
    }
}

/// A table, the rights that the role lacks there, and whether it owns it.
struct Table {
    name: String,
    lacks: Vec<String>,
    owned: bool,
}

/// Examines the schema, its tables, and the database.
pub(super) async fn examine(
    connection: &Connection<()>,
    kind: StoreKind,
    findings: &mut Vec<Finding>,
) -> Result<(), SinkError> {
    let schema = connection.address.schema(look::schema(kind, SCHEMA)).to_owned();
    let rows = connection.query(RIGHTS, &[&quoted(&schema), &schema]).await?;
    let Some(row) = rows.first() else { return Ok(()) };
    let (there, enters, creates, temporary): (bool, bool, bool, bool) =
        (row.get(0), row.get(1), row.get(2), row.get(3));
    let (database, role): (String, String) = (row.get(4), row.get(5));
    let to = quoted(&role);
    let rows = connection.query(TABLES, &[&schema]).await?;
    let tables: Vec<Table> = rows
        .iter()
        .filter_map(|row| {
            let (name, lacks): (String, Vec<String>) = (row.get(0), row.get(1));
            let needed = needed(kind, &name)?;
            let lacks = lacks.into_iter().filter(|right| needed.contains(&right.as_str())).collect();
            Some(Table { name, lacks, owned: row.get(2) })
        })
        .collect();
    findings.push(of_schema(&schema, (there, enters, creates), &tables, &to));
    if matches!(kind, StoreKind::Offline | StoreKind::Metrics | StoreKind::Usage) {
        findings.push(if temporary {
            Finding::ok("temporary", "temporary tables may be made, which rows are copied to first")
        } else {
            let fix = format!("run `GRANT TEMPORARY ON DATABASE {} TO {to}`", quoted(&database));
            Finding::fail("temporary", "no temporary tables may be made, which rows are copied to first", fix)
        });
    }
    if tables.is_empty() {
        findings.push(Finding::ok("tables", "none yet; the first write makes them"));
        return Ok(());
    }
    of_tables(kind, &schema, &tables, &to, findings);
    Ok(())
}

fn of_schema(schema: &str, (there, enters, creates): (bool, bool, bool), tables: &[Table], role: &str) -> Finding {
    let name = quoted(schema);
    match (there, enters, creates) {
        (false, true, _) => {
            Finding::ok("schema", format!("`{schema}` is not there yet; the first write makes it, as it may"))
        }
        (false, false, _) => Finding::fail(
            "schema",
            format!("`{schema}` is not there, and the role may not make it"),
            format!("run `CREATE SCHEMA {name}; GRANT USAGE, CREATE ON SCHEMA {name} TO {role}`"),
        ),
        (true, true, true) => Finding::ok("schema", format!("`{schema}`: tables may be made")),
        // Somebody else has made them, as a role that only writes wants it.
        (true, true, false) if tables.iter().any(|table| table.lacks.is_empty()) => Finding::ok(
            "schema",
            format!("`{schema}`: tables may not be made, and those that are there are written to"),
        ),
        (true, _, _) => Finding::fail(
            "schema",
            format!("`{schema}`: the role may not {}", if enters { "make tables" } else { "use it" }),
            format!("run `GRANT USAGE, CREATE ON SCHEMA {name} TO {role}`"),
        ),
    }
}

fn of_tables(kind: StoreKind, schema: &str, tables: &[Table], role: &str, findings: &mut Vec<Finding>) {
    let closed: Vec<&Table> = tables.iter().filter(|table| !table.lacks.is_empty()).collect();
    if closed.is_empty() {
        findings.push(Finding::ok("tables", format!("{}, all with the rights that are needed there", tables.len())));
    }
    for table in closed {
        let lacks = table.lacks.join(", ");
        let found = format!("`{}`: the role lacks {lacks}", table.name);
        let grant = format!("run `GRANT {lacks} ON {}.{} TO {role}`", quoted(schema), quoted(&table.name));
        // In the schema of history others may have tables of their own.
        let is_ours = matches!(kind, StoreKind::Online | StoreKind::Vector) || table.name == "query_log";
        findings.push(if is_ours {
            Finding::fail("tables", found, grant)
        } else {
            Finding::warn("tables", found, format!("{grant}, where the writer is to write there"))
        });
    }
    let foreign: Vec<String> =
        tables.iter().filter(|table| !table.owned).map(|table| format!("`{}`", table.name)).collect();
    if !foreign.is_empty() && kind == StoreKind::Offline {
        findings.push(Finding::warn(
            "columns",
            format!("of {} the role is no owner, and cannot add columns that appear", foreign.join(", ")),
            "make it a member of the owner, or declare no new features",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_of_a_table_is_what_is_done_there() {
        for (kind, table, rights) in [
            (StoreKind::Online, "online_features", Some(REMOVE)),
            (StoreKind::Online, "user", None),
            (StoreKind::Offline, "online_features", None),
            (StoreKind::Offline, "user", Some(APPEND)),
            (StoreKind::Offline, "query_log", Some(REPLACE)),
            (StoreKind::Metrics, "queries", Some(REPLACE)),
            (StoreKind::Metrics, "metrics", Some(APPEND)),
            (StoreKind::Usage, "usage_events", Some(APPEND)),
            (StoreKind::Vector, "vector_tables", Some(READ)),
            (StoreKind::Vector, "vectors_user__a", Some(REMOVE)),
            (StoreKind::Vector, "user", None),
        ] {
            assert_eq!(needed(kind, table), rights, "{table}");
        }
    }
}
