//! The bytes in Redis, which readers of other programs rely on.
//!
//! An entity is the hash `<prefix><environment>/<namespace>/{<primary key>}`; environment and namespace
//! have `/`, `{`, `}` and `%` percent-encoded, the primary key is kept as it is. A feature is the field
//! of its persistence key without the namespace. Its value is the observed time, then the expiry (0 for
//! never), each 8 bytes, big-endian, in microseconds since 1970; then the value in `MessagePack`, of which
//! a tombstone has none. The field with the empty name is the guard: the newest observed time and the
//! latest expiry of all fields, all bits set where one never expires. `<prefix>__chalk_layout__` holds
//! the number of this layout.

use bytes::{BufMut, Bytes};
use fred::types::Value as Argument;

use crate::row::feature::{Entity, FeatureCell, FeatureRow};
use crate::sink::SinkError;
use crate::store::online::StoredFeature;
use crate::value::msgpack;

/// The number of this layout.
pub(super) const LAYOUT: &str = "1";

/// Observed time and expiry before each value.
const TIMES: usize = 16;

/// Fields in one argument of the script, which has the same number.
const CHUNK: usize = 1_000;

/// A text of `MessagePack` whose length has four bytes.
const TEXT: u8 = 0xdb;

/// The key of the layout's number.
pub(super) fn layout_key(prefix: &str) -> String {
    format!("{prefix}__chalk_layout__")
}

/// The key of an entity.
pub(super) fn key(prefix: &str, entity: &Entity) -> Bytes {
    let mut key = Vec::new();
    put_key(prefix, entity, &mut key);
    key.into()
}

/// Appends the key of an entity.
pub(super) fn put_key(prefix: &str, entity: &Entity, to: &mut impl BufMut) {
    to.put_slice(prefix.as_bytes());
    for part in [&*entity.environment, &*entity.namespace] {
        for byte in part.bytes() {
            // Only what would make two keys one, or move a cluster's hash tag.
            match byte {
                b'/' => to.put_slice(b"%2F"),
                b'{' => to.put_slice(b"%7B"),
                b'}' => to.put_slice(b"%7D"),
                b'%' => to.put_slice(b"%25"),
                _ => to.put_u8(byte),
            }
        }
        to.put_u8(b'/');
    }
    to.put_u8(b'{');
    to.put_slice(entity.primary_key.as_bytes());
    to.put_u8(b'}');
}

/// The arguments of one call of the script with the given digest.
///
/// All of it is written into one buffer and cut into slices. The fields of an entity are one argument, because
/// each costs the client library, the server and its Lua more than the bytes in it do.
pub(super) fn call<'a>(
    digest: Bytes,
    prefix: &str,
    rows: impl Iterator<Item = &'a FeatureRow> + Clone,
    now: i64,
) -> Vec<Argument> {
    let mut bytes = Vec::new();
    let mut ends = Vec::new();
    let mut keys = 0;
    for row in rows.clone() {
        put_key(prefix, &row.entity, &mut bytes);
        ends.push(bytes.len());
        keys += 1;
    }
    for row in rows {
        put_header(&row.cells, now, &mut bytes);
        ends.push(bytes.len());
        for cells in row.cells.chunks(CHUNK) {
            for cell in cells {
                put_field(row.feature(cell), cell, &mut bytes);
            }
            ends.push(bytes.len());
        }
    }
    let bytes = Bytes::from(bytes);
    let mut arguments = Vec::with_capacity(ends.len() + 2);
    arguments.push(Argument::Bytes(digest));
    arguments.push(Argument::Integer(keys));
    let mut start = 0;
    for end in ends {
        arguments.push(Argument::Bytes(bytes.slice(start..end)));
        start = end;
    }
    arguments
}

/// Oldest and newest observed time and latest expiry of a row, and how many fields it has; the oldest is 0
/// where a cell has expired.
fn put_header(cells: &[FeatureCell], now: i64, to: &mut Vec<u8>) {
    let expired = cells.iter().any(|cell| !cell.expires_at.is_after(now));
    let oldest = cells.iter().map(|cell| cell.observed_at).min().unwrap_or(0);
    let newest = cells.iter().map(|cell| cell.observed_at).max().unwrap_or(0);
    let latest =
        cells.iter().map(|cell| cell.expires_at.time().map_or(u64::MAX, |at| at.max(1) as u64)).max().unwrap_or(1);
    to.put_i64(if expired { 0 } else { oldest });
    to.put_i64(newest);
    to.put_u64(latest);
    to.put_u32(cells.len() as u32);
}

/// Name and value of a field, each as a text of `MessagePack`, which is how the script takes them apart.
fn put_field(feature: &str, cell: &FeatureCell, to: &mut Vec<u8>) {
    put_text(to, |to| to.put_slice(feature.as_bytes()));
    put_text(to, |to| {
        to.put_i64(cell.observed_at);
        // Any time before 1970 is as long past as the first microsecond, and 0 means never.
        to.put_i64(cell.expires_at.time().map_or(0, |at| at.max(1)));
        if let Some(value) = &cell.value {
            msgpack::write(value, to);
        }
    });
}

/// Appends what `write` appends as a text, in the form that has room for any length.
fn put_text(to: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    to.put_u8(TEXT);
    let begun = to.len();
    to.put_u32(0);
    write(to);
    let length = (to.len() - begun - 4) as u32;
    to[begun..begun + 4].copy_from_slice(&length.to_be_bytes());
}

/// Reads one field back.
pub(super) fn stored(field: &[u8], value: &[u8]) -> Result<StoredFeature, SinkError> {
    let feature = String::from_utf8_lossy(field).into_owned();
    let broken = |what: String| SinkError::Transient { reason: format!("Redis field `{feature}`: {what}") };
    let Some((times, encoded)) = value.split_first_chunk::<TIMES>() else {
        return Err(broken(format!("{} bytes; expected {TIMES} or more", value.len())));
    };
    let number = |at: usize| times[at..at + 8].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let observed_at = number(0).min(i64::MAX as u64) as i64;
    let expires_at = Some(number(8).min(i64::MAX as u64) as i64).filter(|at| *at != 0);
    let value = if encoded.is_empty() {
        None
    } else {
        Some(msgpack::read(encoded).map_err(|error| broken(error.to_string()))?)
    };
    Ok(StoredFeature { feature, observed_at, expires_at, value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::feature::Expires;
    use crate::value::Value;

    fn entity(environment: &str, namespace: &str, primary_key: &str) -> Entity {
        Entity { environment: environment.into(), namespace: namespace.into(), primary_key: primary_key.into() }
    }

    #[test]
    fn no_two_entities_share_a_key() {
        assert_eq!(key("cache/", &entity("prod", "user", "42")), "cache/prod/user/{42}".as_bytes());
        assert_eq!(key("", &entity("a/b{c}%d\n", "é", "{x}/%")), "a%2Fb%7Bc%7D%25d\n/é/{{x}/%}".as_bytes());
        assert_ne!(key("", &entity("a/b", "c", "")), key("", &entity("a", "b/c", "")));
    }

    fn sent(row: &FeatureRow, now: i64) -> Vec<Bytes> {
        let arguments = call(Bytes::new(), "", [row].into_iter(), now).into_iter().skip(2);
        arguments.map(|argument| argument.into_bytes().expect("bytes")).collect()
    }

    /// Takes one argument apart as the script does.
    fn texts(mut argument: &[u8]) -> Vec<Vec<u8>> {
        let mut texts = Vec::new();
        while !argument.is_empty() {
            match rmpv::decode::read_value(&mut argument).expect("MessagePack") {
                rmpv::Value::String(text) => texts.push(text.into_bytes()),
                other => panic!("no text: {other}"),
            }
        }
        texts
    }

    #[test]
    fn a_field_is_two_times_and_a_value() {
        let cell = |value, expires_at| {
            ("f", FeatureCell { feature: 0, observed_at: 258, expires_at: Expires::from(expires_at), value })
        };
        let row = FeatureRow::of(entity("e", "n", "1"), [cell(Some(Value::Int(7)), None), cell(None, Some(300))]);
        let arguments = sent(&row, 299);
        assert_eq!((arguments.len(), &arguments[0][..]), (3, "e/n/{1}".as_bytes()));
        let mut header = vec![0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 1, 2];
        header.extend([255; 8]);
        header.extend([0, 0, 0, 2]);
        assert_eq!(arguments[1], header);
        let texts = texts(&arguments[2]);
        assert_eq!((texts.len(), &texts[0][..]), (4, "f".as_bytes()));
        assert_eq!(texts[1], [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(texts[3], [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 1, 44]);
        assert_eq!(stored(b"f", &texts[1]).expect("ours").value, Some(Value::Int(7)));
        assert_eq!(stored(b"f", &texts[3]).expect("ours").expires_at, Some(300));
    }

    #[test]
    fn an_argument_has_no_more_fields_than_the_script_takes_at_once() {
        let script = crate::store::online::redis::script::SCRIPT;
        assert!(script.contains(&format!("local CHUNK = {CHUNK} ")), "the script has another number");
        let cell = FeatureCell { feature: 0, observed_at: 1, expires_at: Expires::NEVER, value: Some(Value::Null) };
        for (fields, expected) in [(1, vec![1]), (CHUNK, vec![CHUNK]), (CHUNK + 1, vec![CHUNK, 1])] {
            let cells = (0..fields).map(|at| (format!("f{at}"), cell.clone()));
            let row = FeatureRow::of(entity("e", "n", "1"), cells);
            let arguments = sent(&row, 0);
            let found: Vec<usize> = arguments[2..].iter().map(|argument| texts(argument).len() / 2).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_is_not_of_this_layout_is_an_error_and_no_panic() {
        assert!(stored(b"\xff", b"short").is_err());
        assert!(stored(b"f", &[0xff; 17]).is_ok());
        assert!(stored(b"f", &[0xc4; 17]).is_err());
    }
}
