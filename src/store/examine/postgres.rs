//! A database of Postgres: what it is, its clock, and what the role may do there. Only the catalogue is read.

mod rights;

use super::{Finding, clock, unreachable};
use crate::config::StoreKind;
use crate::config::secret::expose;
use crate::sink::SinkError;
use crate::store::StoreOptions;
use crate::store::postgres::connection::{Connection, Pool};
use crate::store::postgres::uri;
use crate::value::time::now;

const SERVER: &str = "
    SELECT current_setting('server_version'), current_user::text, current_database()::text,
           (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
           pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on',
           pg_encoding_to_char(encoding)::text,
           current_setting('max_connections')::int, (SELECT count(*)::int FROM pg_stat_activity),
           current_setting('synchronous_standby_names')
    FROM pg_database WHERE datname = current_database()";

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
        rights::examine(&connection, kind, &mut findings).await?;
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
