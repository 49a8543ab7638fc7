//! A text that is the same for the same columns and types.

use bytestring::ByteString;

use crate::store::tables::prepare::Form;
use crate::writer::digest::{digest, put};

/// The XXH3 hash (128 bits) of the names and Arrow types of columns, in their order.
pub(super) fn of(columns: &[(ByteString, Form)]) -> String {
    let mut bytes = Vec::new();
    for (name, Form { arrow, extension }) in columns {
        put(&mut bytes, name);
        put(&mut bytes, &arrow.to_string());
        put(&mut bytes, &extension.map_or_else(String::new, |extension| format!("{extension:?}")));
    }
    digest(&bytes)
}
