//! Names of the public `OperationKind` values: columns hold the name, not the number.

use bytestring::ByteString;

use crate::proto::common::v1::OperationKind;
use crate::value::Value;

/// What every name begins with in the published messages, and no column repeats.
const PREFIX: &str = "OPERATION_KIND_";

/// The name of a kind: null for 0, which is none, and the number's text for one of a later engine.
pub(super) fn value(kind: i32) -> Value {
    match OperationKind::try_from(kind) {
        Ok(OperationKind::Unspecified) => Value::Null,
        Ok(known) => {
            let name = known.as_str_name();
            Value::Text(ByteString::from_static(name.strip_prefix(PREFIX).unwrap_or(name)))
        }
        Err(_) => Value::text(kind.to_string()),
    }
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
