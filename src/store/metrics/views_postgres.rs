//! The views of Postgres that merge partial metrics as they are read.
//!
//! Arithmetic of Postgres fails where a double is too large or too small, and one such number would take the whole
//! view with it. So what goes into a moment is first brought to where no sum or square of it can: beyond 1e140 (a
//! variance beyond 1e280) it is infinite, within 1e-140 of nothing its square is nothing.

use super::metric::series_columns;
use super::sketch;

/// What makes the views of a table of metrics; all names are quoted.
pub(super) fn statements(table: &str, merged: &str, quantiles: &str) -> Vec<String> {
    vec![index(table), self::merged(table, merged), self::quantiles(merged, quantiles)]
}

/// The minute that a partial is merged in.
const WINDOW: &str = "date_bin('1 minute', observed_at, '1970-01-01 00:00:00+00')";

/// Finds the partials of some minutes, in which the views are asked for them.
fn index(table: &str) -> String {
    format!("CREATE INDEX ON {table} ({WINDOW})")
}

fn merged(table: &str, view: &str) -> String {
    let dimensions = series_columns();
    format!(
        "CREATE OR REPLACE VIEW {view} AS
SELECT {dimensions}, window_start, partials, value, count, null_count, min, max, sum, mean, variance, compactions,
    (SELECT jsonb_agg(jsonb_build_array(sign, index, count) ORDER BY sign, sign * index)
     FROM (SELECT sign, index, sum(count) AS count
           FROM (SELECT (bucket ->> 0)::bigint AS sign,
                        -((-(bucket ->> 1)::bigint) >> (merged.compactions - part.compactions)::int) AS index,
                        (bucket ->> 2)::numeric AS count
                 FROM unnest(all_buckets, all_compactions) AS part (buckets, compactions),
                      jsonb_array_elements(part.buckets) AS bucket) AS bucket
           GROUP BY sign, index) AS bucket) AS buckets
FROM (
    SELECT {dimensions}, window_start, count(*) AS partials,
        CASE aggregation_type
            WHEN 'SUM' THEN sum(addend)
            WHEN 'MAX' THEN max(value)
            WHEN 'MIN' THEN min(value)
            WHEN 'GAUGE_FIRST' THEN
                (array_agg(value ORDER BY observed_at, emitter, part) FILTER (WHERE value IS NOT NULL))[1]
            WHEN 'GAUGE_LAST' THEN
                (array_agg(value ORDER BY observed_at DESC, emitter DESC, part DESC) FILTER (WHERE value IS NOT NULL))[1]
            ELSE CASE count(value) WHEN 1 THEN max(value) END
        END AS value,
        sum(count) AS count, sum(null_count) AS null_count,
        min(min) FILTER (WHERE count > 0) AS min, max(max) FILTER (WHERE count > 0) AS max,
        sum(weight * middle) AS sum, max(overall) AS mean,
        CASE WHEN count(*) FILTER (WHERE weight > 0 AND spread IS NULL) = 0 THEN
            sum(weight * spread + weight * CASE WHEN abs(middle - overall) < 1e-140 THEN 0 ELSE (middle - overall) ^ 2 END)
                / nullif(sum(weight), 0)
        END AS variance,
        max(compactions) AS compactions,
        array_agg(buckets) FILTER (WHERE buckets IS NOT NULL) AS all_buckets,
        array_agg(compactions) FILTER (WHERE buckets IS NOT NULL) AS all_compactions
    FROM (
        SELECT *, sum(weight * middle) OVER same / nullif(sum(weight) OVER same, 0) AS overall
        FROM (
            SELECT *, {WINDOW} AS window_start,
                CASE WHEN abs(value) < 1e290 THEN value ELSE sign(value) * 'Infinity'::float8 END AS addend,
                CASE WHEN mean IS NOT NULL THEN count::float8 END AS weight,
                CASE WHEN abs(mean) < 1e-290 THEN 0 WHEN abs(mean) < 1e140 THEN mean
                     ELSE sign(mean) * 'Infinity'::float8 END AS middle,
                CASE WHEN variance < 1e-280 THEN 0 WHEN variance < 1e280 THEN variance
                     ELSE variance + 'Infinity'::float8 END AS spread
            FROM {table}
        ) AS part
        WINDOW same AS (PARTITION BY {dimensions}, window_start)
    ) AS part
    GROUP BY {dimensions}, window_start
) AS merged"
    )
}

fn quantiles(merged: &str, view: &str) -> String {
    let each: Vec<String> = sketch::QUANTILES
        .iter()
        .map(|(name, quantile)| format!("min(middle) FILTER (WHERE upto > floor(whole * {quantile})) AS {name}"))
        .collect();
    let names: Vec<&str> = sketch::QUANTILES.iter().map(|(name, _)| *name).collect();
    format!(
        "CREATE OR REPLACE VIEW {view} AS
SELECT {dimensions}, window_start, count, error, {names}
FROM {merged} AS merged
CROSS JOIN LATERAL (SELECT {base:?} * 2::float8 ^ compactions AS base) AS scale
CROSS JOIN LATERAL (SELECT 2 / (1 + exp(-least(base, 700))) - 1 AS error) AS scaled
CROSS JOIN LATERAL (
    SELECT {each}
    FROM (
        SELECT sum(count) OVER (ORDER BY sign, sign * index) AS upto, sum(count) OVER () AS whole,
            sign * CASE WHEN exponent > 709.78 THEN {most:e} WHEN exponent < -745 THEN 0 ELSE exp(exponent) END AS middle
        FROM (
            SELECT (bucket ->> 0)::bigint AS sign, (bucket ->> 1)::bigint AS index, (bucket ->> 2)::numeric AS count,
                ((bucket ->> 1)::bigint - 1) * base + ln(1 + error) AS exponent
            FROM jsonb_array_elements(buckets) AS bucket
        ) AS bucket
    ) AS bucket
) AS quantile
WHERE buckets IS NOT NULL",
        dimensions = series_columns(),
        names = names.join(", "),
        each = each.join(", "),
        base = sketch::base().ln(),
        most = f64::MAX,
    )
}
