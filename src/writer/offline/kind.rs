//! Names of the public `OperationKind` values: columns hold the name, not the number.

use bytestring::ByteString;

use crate::value::Value;

const NAMES: [&str; 15] = [
    "ONLINE_QUERY",
    "MIGRATION",
    "CRON",
    "STREAMING",
    "MIGRATION_SAMPLER",
    "WINDOWED_STREAMING",
    "OFFLINE_QUERY",
    "DATASET",
    "SCHEDULED_QUERY",
    "AGGREGATE_BACKFILL",
    "SCHEDULED_AGGREGATE_BACKFILL",
    "SCRIPT_TASK",
    "CHALKSQL",
    "CHALKDF",
    "UPLOAD_FEATURES",
];

/// The name of a kind: null for 0, which is none, and the number's text for one of a later engine.
pub(super) fn value(kind: i32) -> Value {
    if kind == 0 {
        return Value::Null;
    }
    let name = usize::try_from(kind).ok().and_then(|kind| NAMES.get(kind - 1));
    name.map_or_else(|| Value::text(kind.to_string()), |name| Value::Text(ByteString::from_static(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_written_by_its_name() {
        assert_eq!(value(0), Value::Null);
        assert_eq!(value(1), Value::text("ONLINE_QUERY"));
        assert_eq!(value(15), Value::text("UPLOAD_FEATURES"));
        assert_eq!(value(16), Value::text("16"));
        assert_eq!(value(-1), Value::text("-1"));
    }
}
