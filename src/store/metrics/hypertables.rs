//! What `TimescaleDB` adds where it is installed: tables cut by time, and its toolkit's own sketches.

use super::metric::series_columns;

/// Makes an empty table one that is cut by the time in a column; `table` is its quoted name. The form that every
/// version 2 takes.
pub(super) fn hypertable(table: &str, time: &str) -> String {
    let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
    format!("SELECT create_hypertable({}, {}, if_not_exists => true)", literal(table), literal(time))
}

/// The view of sketches that the toolkit's functions take, merged by it; all names are quoted.
pub(super) fn sketches(table: &str, view: &str) -> String {
    let dimensions = series_columns();
    format!(
        "CREATE OR REPLACE VIEW {view} AS
SELECT {dimensions}, time_bucket('1 minute', observed_at) AS window_start, rollup(sketch::uddsketch) AS sketch
FROM {table}
WHERE sketch IS NOT NULL
GROUP BY {dimensions}, time_bucket('1 minute', observed_at)"
    )
}
