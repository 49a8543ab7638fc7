//! Fields that no reader looks at: where a name is misspelt, this is how people find it.

use serde_json::{Map, Value};

/// The fields of a `QueryResult`, as [`super::decode`] reads them; `lowerCamelCase` counts as well.
const FIELDS: [&str; 10] = [
    "environment_id",
    "deployment_id",
    "operation_id",
    "operation_kind",
    "observed_at",
    "tables",
    "persistence",
    "query",
    "errors",
    "resolver_runs",
];

/// Names of the outermost fields of a JSON body that a result does not have; of any other body none.
pub fn unknown_fields(body: &[u8]) -> Vec<String> {
    let fields: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    let known = |name: &str| FIELDS.iter().any(|field| *field == name || camel(field) == name);
    fields.into_iter().map(|(name, _)| name).filter(|name| !known(name)).collect()
}

fn camel(field: &str) -> String {
    let mut words = field.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_ascii_uppercase() + &word[1..])
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::result::{QueryResult, Wanted, json};

    #[test]
    fn only_what_the_reader_does_not_know_is_unknown() {
        for field in FIELDS.iter().flat_map(|field| [(*field).to_owned(), camel(field)]) {
            let body = |value: &str| format!(r#"{{"{field}": {value}}}"#);
            assert_eq!(unknown_fields(body("null").as_bytes()), [""; 0], "{field}");
            // The reader says of a body without any field that it knows that there is none.
            let mut result = QueryResult::default();
            let read = json::decode(&Bytes::from(body("null")), Wanted::default(), 1 << 20, &mut result);
            let read = read.err().map(|refusal| refusal.message).unwrap_or_default();
            assert!(!read.contains(crate::result::NOTHING_KNOWN), "{field}: {read}");
        }
        let body = br#"{"tabels": [], "operation_id": "1", "operationID": 2}"#;
        assert_eq!(unknown_fields(body), ["operationID", "tabels"]);
        assert_eq!(unknown_fields(b"[1]"), [""; 0]);
        assert_eq!(unknown_fields(b"\x0a"), [""; 0]);
    }
}
