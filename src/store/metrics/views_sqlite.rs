//! The views of SQLite that merge partial metrics as they are read. They call nothing that SQLite does not have
//! everywhere, so any program that opens the file can use them: powers are products of numbers that stand in the view.

use super::metric::series_columns;
use super::sketch;
use crate::store::postgres::quoted;

/// Powers of two of an index that have a factor of their own: with one more a double is too small for the product.
const BITS: u32 = 19;

/// What makes the views of a table of metrics; names are not quoted.
pub(super) fn statements(table: &str, merged: &str, quantiles: &str) -> Vec<String> {
    let merged = quoted(merged);
    vec![self::merged(&quoted(table), &merged), self::quantiles(&merged, &quoted(quantiles))]
}

fn merged(table: &str, view: &str) -> String {
    let dimensions = series_columns();
    format!(
        "CREATE VIEW {view} AS
SELECT {dimensions}, window_start, partials, value, count, null_count, min, max, sum, mean, variance, compactions,
    CASE WHEN has_buckets THEN
    (SELECT json_group_array(json_array(sign, idx, numbers))
     FROM (SELECT sign, idx, CAST(total(numbers) AS INTEGER) AS numbers
           FROM (SELECT json_extract(bucket.value, '$[0]') AS sign,
                        -((-json_extract(bucket.value, '$[1]')) >> (merged.compactions - json_extract(part.value, '$[0]')))
                            AS idx,
                        json_extract(bucket.value, '$[2]') AS numbers
                 FROM json_each(merged.all_buckets) AS part, json_each(json_extract(part.value, '$[1]')) AS bucket)
           GROUP BY sign, idx ORDER BY sign, sign * idx))
    END AS buckets
FROM (
    SELECT {dimensions}, window_start, count(*) AS partials,
        CASE aggregation_type
            WHEN 'SUM' THEN CASE WHEN total(typeof(value) = 'text') THEN 'NaN' ELSE sum(value) END
            WHEN 'MAX' THEN max(value)
            WHEN 'MIN' THEN min(value)
            WHEN 'GAUGE_FIRST' THEN max(CASE WHEN first = 1 THEN value END)
            WHEN 'GAUGE_LAST' THEN max(CASE WHEN last = 1 THEN value END)
            ELSE CASE count(value) WHEN 1 THEN max(value) END
        END AS value,
        CAST(total(count) AS INTEGER) AS count, CAST(total(null_count) AS INTEGER) AS null_count,
        min(CASE WHEN count > 0 THEN min END) AS min, max(CASE WHEN count > 0 THEN max END) AS max,
        sum(weight * mean) AS sum, max(overall) AS mean,
        CASE WHEN total(weight > 0 AND variance IS NULL) = 0 THEN
            sum(weight * variance + weight * (mean - overall) * (mean - overall)) / nullif(sum(weight), 0)
        END AS variance,
        max(compactions) AS compactions,
        count(buckets) > 0 AS has_buckets,
        json_group_array(json_array(compactions, json(buckets))) FILTER (WHERE buckets IS NOT NULL) AS all_buckets
    FROM (
        SELECT *, sum(weight * mean) OVER same / nullif(sum(weight) OVER same, 0) AS overall,
            row_number() OVER (same ORDER BY value IS NULL, observed_at, emitter, part) AS first,
            row_number() OVER (same ORDER BY value IS NULL, observed_at DESC, emitter DESC, part DESC) AS last
        FROM (
            SELECT *, substr(observed_at, 1, 16) || ':00Z' AS window_start,
                CASE WHEN mean IS NOT NULL THEN CAST(count AS REAL) END AS weight
            FROM {table}
        )
        WINDOW same AS (PARTITION BY {dimensions}, window_start)
    )
    GROUP BY {dimensions}, window_start
) AS merged"
    )
}

fn quantiles(merged: &str, view: &str) -> String {
    let each: Vec<String> = sketch::QUANTILES
        .iter()
        .map(|(name, quantile)| {
            format!("min(CASE WHEN upto > CAST(whole * {quantile} AS INTEGER) THEN middle END) AS {name}")
        })
        .collect();
    // `n` numbers of a base's powers multiply to the power of an exponent by its bits.
    let product = |base: f64| {
        let factor = |bit: u32| {
            let power = base.powf(f64::from(1_u32 << bit));
            format!("CASE WHEN abs(exponent) & {} THEN {power:e} ELSE 1.0 END", 1_u32 << bit)
        };
        (0..BITS).map(factor).collect::<Vec<_>>().join(" * ")
    };
    let errors: Vec<String> = (0..BITS)
        .map(|compactions| format!("WHEN {compactions} THEN {:e}", sketch::error_after(compactions)))
        .collect();
    format!(
        "CREATE VIEW {view} AS
SELECT {dimensions}, window_start, max(count) AS count, error, {each}
FROM (
    SELECT *, sign * min({most:e}, (1.0 + error) * CASE
        WHEN abs(exponent) >= {beyond} THEN CASE WHEN exponent > 0 THEN 9e999 ELSE 0.0 END
        WHEN exponent < 0 THEN {small}
        ELSE {large}
        END) AS middle
    FROM (
        SELECT *, (idx - 1) << compactions AS exponent,
            sum(numbers) OVER (PARTITION BY {dimensions}, window_start ORDER BY sign, sign * idx) AS upto,
            sum(numbers) OVER (PARTITION BY {dimensions}, window_start) AS whole
        FROM (
            SELECT {dimensions}, window_start, count, compactions, CASE compactions {errors} ELSE 1.0 END AS error,
                json_extract(bucket.value, '$[0]') AS sign, json_extract(bucket.value, '$[1]') AS idx,
                json_extract(bucket.value, '$[2]') AS numbers
            FROM {merged} AS merged, json_each(merged.buckets) AS bucket
        )
    )
)
GROUP BY {dimensions}, window_start, error",
        dimensions = series_columns(),
        each = each.join(", "),
        most = f64::MAX,
        beyond = 1_u32 << BITS,
        small = product(1.0 / sketch::base()),
        large = product(sketch::base()),
        errors = errors.join(" "),
    )
}
