//! Tables whose columns are all known beforehand: whole from their first row on.

use bytestring::ByteString;

use crate::row::table::{Column, Of, Repeats, Shape, When};
use crate::value::dtype::DataType;

/// A table of these columns; the others name some of them. Of two rows of one key the first stands.
pub(in crate::store) fn shape(
    schema: Option<ByteString>,
    table: ByteString,
    columns: &[(&'static str, DataType)],
    time: &str,
    name: &str,
    key: &[&str],
) -> Shape {
    let at = |wanted: &str| columns.iter().position(|(name, _)| *name == wanted).unwrap_or_default();
    Shape {
        schema,
        table,
        columns: columns
            .iter()
            .map(|(name, data_type)| Column { name: ByteString::from_static(name), data_type: Some(data_type.clone()) })
            .collect(),
        time: When::Column(at(time)),
        name: at(name),
        key: key.iter().map(|name| at(name)).collect(),
        repeats: Repeats::First,
        create: true,
        of: Of::Anything,
    }
}

/// Any JSON: a struct of no declared fields is `jsonb` in Postgres and text of JSON in SQLite and in a lake, for lists
/// as well.
pub(in crate::store) fn json() -> DataType {
    DataType::Struct(Vec::new())
}
