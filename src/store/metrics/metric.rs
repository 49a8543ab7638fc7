//! A row of the table of metrics: its columns, and which of them are what a series is about.

use crate::store::tables::fixed;
use crate::value::Value;
use crate::value::dtype::DataType;

/// Declares the row and, from the same list, the columns and the dimensions: they cannot fall apart.
macro_rules! metric_row {
    ($($column:ident: $data_type:expr, $role:ident;)*) => {
        /// The values of one partial, by the names of their columns; null where nothing is said.
        #[derive(Clone, Debug, PartialEq)]
        pub struct MetricRow {
            $(#[doc = concat!("Column `", stringify!($column), "`.")] pub $column: Value,)*
        }

        impl Default for MetricRow {
            fn default() -> Self {
                Self { $($column: Value::Null,)* }
            }
        }

        impl MetricRow {
            /// What the row's series is about, in the order of the columns. The name of a series is made of these, so
            /// neither they nor their order may change.
            pub fn dimensions(&self) -> impl Iterator<Item = &Value> {
                [$((Role::$role, &self.$column),)*]
                    .into_iter()
                    .filter_map(|(role, value)| (role == Role::Dimension).then_some(value))
            }

            /// All of it, in the order of the columns.
            pub fn into_values(self) -> Vec<Value> {
                vec![$(self.$column,)*]
            }
        }

        /// The columns in their order.
        pub(super) fn columns() -> Vec<(&'static str, DataType)> {
            vec![$((stringify!($column), $data_type),)*]
        }

        /// The names of the dimensions, in the order of the columns.
        const DIMENSIONS: &[(&str, Role)] = &[$((stringify!($column), Role::$role),)*];
    };
}

/// What a column is to its series.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// It tells the series from others.
    Dimension,
    /// It tells partials of one series apart.
    Partial,
    /// It was measured.
    Measured,
}

metric_row! {
    version: DataType::Int64, Dimension;
    id: DataType::Int64, Partial;
    environment_id: DataType::String, Dimension;
    deployment_id: DataType::String, Dimension;
    observed_at: DataType::Timestamp, Partial;
    namespace: DataType::String, Dimension;
    metric_name: DataType::String, Dimension;
    source: DataType::String, Dimension;
    operation_id: DataType::String, Partial;
    resource_group: DataType::String, Dimension;
    tag1: DataType::String, Dimension;
    tag2: DataType::String, Dimension;
    tag3: DataType::String, Dimension;
    tag4: DataType::String, Dimension;
    tag5: DataType::String, Dimension;
    tag6: DataType::String, Dimension;
    tag7: DataType::String, Dimension;
    aggregation_type: DataType::String, Dimension;
    metric_type: DataType::String, Dimension;
    additional_tags: fixed::json(), Dimension;
    value: DataType::Float64, Measured;
    sketch: DataType::String, Measured;
    min: DataType::Float64, Measured;
    max: DataType::Float64, Measured;
    count: DataType::Int64, Measured;
    null_count: DataType::Int64, Measured;
    mean: DataType::Float64, Measured;
    variance: DataType::Float64, Measured;
    buckets: fixed::json(), Measured;
    compactions: DataType::Int64, Measured;
    series: DataType::String, Partial;
    emitter: DataType::String, Partial;
    part: DataType::Int64, Partial;
}

/// What views group by: the dimensions, and `series`, which stands for all of them.
pub(super) fn series_columns() -> String {
    let dimensions = DIMENSIONS.iter().filter(|(_, role)| *role == Role::Dimension).map(|(name, _)| *name);
    dimensions.chain(["series"]).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_series_is_about_is_all_but_what_was_measured_and_what_tells_partials_apart() {
        let all = MetricRow { series: Value::text("s"), value: Value::Double(1.0), ..MetricRow::default() };
        assert_eq!(all.dimensions().count(), 17);
        assert!(all.dimensions().all(|value| *value == Value::Null));
        assert_eq!(series_columns().split(", ").count(), 18);
        assert_eq!(all.into_values().len(), columns().len());
    }
}
