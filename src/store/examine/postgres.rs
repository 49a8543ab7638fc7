//! A database of Postgres: what it is, its clock, and what the role may do in the schema. Only the catalogue is read.

use super::{Finding, clock, unreachable};
use crate::config::StoreKind;
use crate::config::secret::expose;
use crate::sink::SinkError;
use crate::store::postgres::connection::{Connection, Pool};
use crate::store::postgres::{ONLINE_TABLE, SCHEMA, quoted, uri};
use crate::store::{StoreOptions, look};
use crate::value::time::now;

const SERVER: &str = "
    SELECT current_setting('server_version'), current_user::text, current_database()::text,
           (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
           pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on',
           pg_encoding_to_char(encoding)::text,
           current_setting('max_connections')::int, (SELECT count(*)::int FROM pg_stat_activity),
           current_setting('synchronous_standby_names')
    FROM pg_database WHERE datname = current_database()";

const RIGHTS: &str = "
    SELECT to_regnamespace($1) IS NOT NULL,
           CASE WHEN to_regnamespace($1) IS NULL THEN has_database_privilege(current_database(), 'CREATE')
                ELSE has_schema_privilege($2::text, 'USAGE') END,
           CASE WHEN to_regnamespace($1) IS NULL THEN has_database_privilege(current_database(), 'CREATE')
                ELSE has_schema_privilege($2::text, 'CREATE') END";

const TABLES: &str = "
    SELECT class.relname::text,
           has_table_privilege(class.oid, 'SELECT') AND has_table_privilege(class.oid, 'INSERT')
           AND has_table_privilege(class.oid, 'UPDATE'),
           pg_has_role(class.relowner, 'USAGE')
    FROM pg_class class JOIN pg_namespace space ON space.oid = class.relnamespace
    WHERE space.nspname = $1 AND class.relkind IN ('r', 'p') ORDER BY 1";

const PGVECTOR: &str = "
    SELECT (SELECT extversion FROM pg_extension WHERE extname = 'vector'),
           (SELECT default_version FROM pg_available_extensions WHERE name = 'vector'),
           has_database_privilege(current_database(), 'CREATE')";

pub(in crate::store) async fn examine(kind: StoreKind, options: &StoreOptions) -> Vec<Finding> {
    let name = kind.name();
    if let Err(error) = uri::parse(name, expose(&options.fetched)) {
        return vec![Finding::fail("reached", error.to_string(), "correct the URI")];
    }
    let pool: Pool<()> = Pool::new(name, options.uri.clone());
    let mut findings = Vec::new();
    let done = async {
        let connection = pool.take().await?;
        server(&connection, &mut findings).await?;
        rights(&connection, kind, &mut findings).await?;
        if kind == StoreKind::Vector {
            pgvector(&connection, &mut findings).await?;
        }
        Ok(())
    };
    if let Err(error) = done.await {
        findings.push(unreachable(error));
    }
    findings
}

async fn server(connection: &Connection<()>, findings: &mut Vec<Finding>) -> Result<(), SinkError> {
    let asked = now();
    let rows = connection.query(SERVER, &[]).await?;
    let came = now();
    let Some(row) = rows.first() else { return Ok(()) };
    let (version, role, database): (String, String, String) = (row.get(0), row.get(1), row.get(2));
    findings.push(Finding::ok(
        "reached",
        format!("{}: PostgreSQL {version}, database `{database}`, as `{role}`", connection.address),
    ));
    findings.push(clock(row.get(3), asked, came));
    if row.get(4) {
        findings.push(Finding::fail(
            "writable",
            "the server is a standby, or this role's transactions are read-only",
            "name the primary, or several hosts with `target_session_attrs=read-write`",
        ));
    }
    let encoding: String = row.get(5);
    if encoding != "UTF8" {
        findings.push(Finding::warn(
            "encoding",
            format!("{encoding}: text that it does not have is buried"),
            "use a database in UTF8",
        ));
    }
    let (most, used): (i32, i32) = (row.get(6), row.get(7));
    let found = format!("{used} of {most} in use");
    findings.push(if used.saturating_mul(10) > most.saturating_mul(9) {
        Finding::warn("connections", found, "raise `max_connections`, or close some")
    } else {
        Finding::ok("connections", found)
    });
    let standbys: String = row.get(8);
    findings.push(Finding::ok(
        "standbys",
        match &*standbys {
            "" => "a commit waits for none (`synchronous_standby_names` is empty): a failover may lose the newest"
                .to_owned(),
            names => format!("a commit waits for {names}"),
        },
    ));
    Ok(())
}

async fn rights(connection: &Connection<()>, kind: StoreKind, findings: &mut Vec<Finding>) -> Result<(), SinkError> {
    let schema = connection.address.schema(look::schema(kind, SCHEMA)).to_owned();
    let rows = connection.query(RIGHTS, &[&quoted(&schema), &schema]).await?;
    let Some(row) = rows.first() else { return Ok(()) };
    let (there, enters, creates): (bool, bool, bool) = (row.get(0), row.get(1), row.get(2));
    let tables = connection.query(TABLES, &[&schema]).await?;
    let tables: Vec<(String, bool, bool)> = tables.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let ours = |name: &str| kind != StoreKind::Online || name == ONLINE_TABLE;
    let ours: Vec<&(String, bool, bool)> = tables.iter().filter(|(name, ..)| ours(name)).collect();
    // Features are in one table, which is never changed: who has it needs not make any.
    let has_all = kind == StoreKind::Online && !ours.is_empty();
    findings.push(match (there, enters, creates) {
        (false, true, _) => {
            Finding::ok("schema", format!("`{schema}` is not there yet; the first write makes it, as it may"))
        }
        (false, false, _) => Finding::fail(
            "schema",
            format!("`{schema}` is not there, and the role may not make it"),
            format!("run `CREATE SCHEMA {}; GRANT USAGE, CREATE ON SCHEMA {} TO …`", quoted(&schema), quoted(&schema)),
        ),
        (true, true, true) => Finding::ok("schema", format!("`{schema}`: tables may be made")),
        (true, true, false) if has_all => {
            Finding::ok("schema", format!("`{schema}`: tables may not be made, and none has to be"))
        }
        (true, _, _) => Finding::fail(
            "schema",
            format!("`{schema}`: the role may not {}", if enters { "make tables" } else { "use it" }),
            format!("run `GRANT USAGE, CREATE ON SCHEMA {} TO …`", quoted(&schema)),
        ),
    });
    if ours.is_empty() {
        findings.push(Finding::ok("tables", "none yet; the first write makes them"));
        return Ok(());
    }
    let named = |wrong: &[&str]| wrong.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let closed: Vec<&str> = ours.iter().filter(|(_, writes, _)| !writes).map(|(name, ..)| name.as_str()).collect();
    let foreign: Vec<&str> = ours.iter().filter(|(_, _, owns)| !owns).map(|(name, ..)| name.as_str()).collect();
    findings.push(if closed.is_empty() {
        Finding::ok("tables", format!("{}, all readable and writable by the catalogue's rights", ours.len()))
    } else {
        let fix = format!(
            "run `GRANT SELECT, INSERT, UPDATE ON … TO …`{}",
            if kind == StoreKind::Online { "" } else { ", where the writer is to write there" }
        );
        let found = format!("may not be read and written to: {}", named(&closed));
        if kind == StoreKind::Online {
            Finding::fail("tables", found, fix)
        } else {
            Finding::warn("tables", found, fix)
        }
    });
    if !foreign.is_empty() && kind != StoreKind::Online {
        findings.push(Finding::warn(
            "columns",
            format!("of {} the role is no owner, and cannot add columns that appear", named(&foreign)),
            "make it a member of the owner, or declare no new features",
        ));
    }
    Ok(())
}

async fn pgvector(connection: &Connection<()>, findings: &mut Vec<Finding>) -> Result<(), SinkError> {
    let rows = connection.query(PGVECTOR, &[]).await?;
    let Some(row) = rows.first() else { return Ok(()) };
    let (installed, available, creates): (Option<String>, Option<String>, bool) = (row.get(0), row.get(1), row.get(2));
    findings.push(match (installed, available) {
        (Some(version), _) => Finding::ok("pgvector", version),
        (None, Some(version)) if creates => {
            Finding::ok("pgvector", format!("{version} is there to be made an extension, which the first write does"))
        }
        (None, Some(_)) => Finding::fail(
            "pgvector",
            "it is no extension of this database yet, and the role may not make it one",
            "run `CREATE EXTENSION vector` there as somebody who may",
        ),
        (None, None) => Finding::fail("pgvector", "the server does not have it", "install pgvector on the server"),
    });
    Ok(())
}
