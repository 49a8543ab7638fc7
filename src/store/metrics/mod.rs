//! Metrics stores: metrics, queries and errors in tables, and views that merge the metrics.
//!
//! Tables ([`shapes`]) are in the schema `chalk` of Postgres, unless the URI names another, and under plain names in
//! SQLite. A row of `metrics` is a partial: one message's part of a series. Partials are never overwritten and never
//! added up in the table; the views do that when they are read:
//! - `metrics_merged` has one row per series and minute: sums added, the largest, the smallest, the first or last,
//!   and of sketches the statistics and the buckets, all at the precision of the coarsest;
//! - `metrics_quantiles` has quantiles of those buckets, each within the relative `error` that stands beside it;
//! - `metrics_sketches`, where the toolkit of `TimescaleDB` is installed, has its own sketches.
//!
//! Where `TimescaleDB` is installed `metrics`, `query_errors` and `resolver_errors` are hypertables. `queries` is
//! not: a query is one row whenever it is told of, and a hypertable's key would have to have the time.
//!
//! Tables and views are made with the first row of theirs, in one transaction. A table that is there already is taken
//! as it is: whoever made it makes the views.

mod hypertables;
pub mod metric;
pub mod shapes;
mod sketch;
mod views_postgres;
mod views_sqlite;

use super::postgres::quoted;
use super::tables::{postgres, sqlite};
use crate::config::StoreKind;
use crate::row::table::{Of, Shape};

const MERGED: &str = "metrics_merged";
const QUANTILES: &str = "metrics_quantiles";
const SKETCHES: &str = "metrics_sketches";

pub(super) static POSTGRES: postgres::Layout =
    postgres::Layout { store: StoreKind::Metrics.name(), schema: "chalk", with_table: with_postgres };
pub(super) static SQLITE: sqlite::Layout = sqlite::Layout { store: StoreKind::Metrics.name(), with_table: with_sqlite };

fn with_postgres(new: &postgres::NewTable<'_>) -> Vec<String> {
    let named = |name: &str| format!("{}.{}", quoted(new.schema), quoted(name));
    let has = |extension: &str| new.extensions.iter().any(|installed| installed == extension);
    let (Of::Metrics | Of::Events, Some(time)) = (new.shape.of, new.shape.time.column()) else { return Vec::new() };
    let time = &new.shape.columns[time].name;
    let table = named(new.name);
    let mut statements = Vec::new();
    if has("timescaledb") {
        statements.push(hypertables::hypertable(&table, time));
    }
    if new.shape.of == Of::Metrics {
        statements.extend(views_postgres::statements(&table, &named(MERGED), &named(QUANTILES)));
        if has("timescaledb_toolkit") {
            statements.push(hypertables::sketches(&table, &named(SKETCHES)));
        }
    }
    statements
}

fn with_sqlite(new: &Shape) -> Vec<String> {
    match new.of {
        Of::Metrics => views_sqlite::statements(&new.table, MERGED, QUANTILES),
        Of::Anything | Of::History | Of::Events => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What runs in a database with these extensions beside the table itself.
    fn made(name: &str, extensions: &[&str]) -> Vec<String> {
        let extensions: Vec<String> = extensions.iter().map(ToString::to_string).collect();
        let place = shapes::Place::named(name);
        let shape = match name {
            shapes::METRICS => shapes::metrics(&place),
            shapes::QUERIES => shapes::queries(&place),
            _ => shapes::errors(&place),
        };
        with_postgres(&postgres::NewTable { schema: "chalk", name, shape: &shape, extensions: &extensions })
    }

    #[test]
    fn hypertable_ddl_is_this_text() {
        let timescale = ["plpgsql", "timescaledb"];
        assert_eq!(
            made("query_errors", &timescale),
            [r#"SELECT create_hypertable('"chalk"."query_errors"', 'created_at', if_not_exists => true)"#]
        );
        assert_eq!(
            made("metrics", &timescale)[0],
            r#"SELECT create_hypertable('"chalk"."metrics"', 'observed_at', if_not_exists => true)"#
        );
        assert_eq!(made("metrics", &timescale).len(), 1 + made("metrics", &[]).len());
        assert_eq!(made("queries", &timescale), Vec::<String>::new(), "its key has no time");
        assert_eq!(made("resolver_errors", &["plpgsql"]), Vec::<String>::new());
        let toolkit = made("metrics", &["timescaledb", "timescaledb_toolkit"]);
        assert_eq!(
            toolkit.last().expect("a view"),
            "CREATE OR REPLACE VIEW \"chalk\".\"metrics_sketches\" AS\nSELECT version, environment_id, deployment_id, \
             namespace, metric_name, source, resource_group, tag1, tag2, tag3, tag4, tag5, tag6, tag7, \
             aggregation_type, metric_type, additional_tags, series, time_bucket('1 minute', observed_at) AS window_start, \
             rollup(sketch::uddsketch) AS sketch\nFROM \"chalk\".\"metrics\"\nWHERE sketch IS NOT NULL\nGROUP BY \
             version, environment_id, deployment_id, namespace, metric_name, source, resource_group, tag1, tag2, \
             tag3, tag4, tag5, tag6, tag7, aggregation_type, metric_type, additional_tags, series, \
             time_bucket('1 minute', observed_at)"
        );
    }
}
