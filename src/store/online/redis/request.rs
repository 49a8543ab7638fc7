//! Commands as bytes: what is sent is written once, into the buffer that the socket takes.

use bytes::{BufMut, Bytes, BytesMut};

use super::layout;
use crate::row::feature::FeatureRow;

/// Appends a command.
pub(super) fn command(parts: &[&[u8]], to: &mut BytesMut) {
    head(b'*', parts.len(), to);
    for part in parts {
        bulk(part, to);
    }
}

/// Appends one call of the script with the given digest.
pub(super) fn call<'a>(
    digest: &Bytes,
    prefix: &str,
    rows: impl ExactSizeIterator<Item = &'a FeatureRow> + Clone,
    now: i64,
    to: &mut BytesMut,
) {
    let keys = rows.len();
    let arguments: usize = rows.clone().map(|row| 2 + 2 * row.cells.len()).sum();
    let mut scratch = Vec::new();
    head(b'*', 3 + keys + arguments, to);
    bulk(b"EVALSHA", to);
    bulk(digest, to);
    number(keys, to);
    for row in rows.clone() {
        scratch.clear();
        layout::put_key(prefix, &row.entity, &mut scratch);
        bulk(&scratch, to);
    }
    for row in rows {
        number(row.cells.len(), to);
        head(b'$', layout::HEADER, to);
        layout::put_header(&row.cells, now, to);
        to.put_slice(b"\r\n");
        for cell in &row.cells {
            bulk(cell.feature.as_bytes(), to);
            scratch.clear();
            layout::put_value(cell, &mut scratch);
            bulk(&scratch, to);
        }
    }
}

fn bulk(bytes: &[u8], to: &mut BytesMut) {
    head(b'$', bytes.len(), to);
    to.put_slice(bytes);
    to.put_slice(b"\r\n");
}

/// A number as an argument.
fn number(number: usize, to: &mut BytesMut) {
    let mut digits = [0; 20];
    bulk(decimal(number, &mut digits), to);
}

fn head(kind: u8, length: usize, to: &mut BytesMut) {
    let mut digits = [0; 20];
    to.put_u8(kind);
    to.put_slice(decimal(length, &mut digits));
    to.put_slice(b"\r\n");
}

/// A call has a thousand lengths: formatting them is what making one would mostly consist of.
fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::feature::{Entity, FeatureCell};
    use crate::value::Value;

    #[test]
    fn a_command_is_its_parts_with_their_lengths() {
        let mut bytes = BytesMut::new();
        command(&[b"GET", "é\r\n".as_bytes(), b""], &mut bytes);
        assert_eq!(bytes, "*3\r\n$3\r\nGET\r\n$4\r\né\r\n\r\n$0\r\n\r\n".as_bytes());
        for number in [0, 9, 10, 1_234_567, usize::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }

    #[test]
    fn a_call_holds_every_entity_with_its_fields() {
        let row = |key: &'static str, cells: &[&str]| FeatureRow {
            destination: 0,
            entity: Entity { environment: "e".into(), namespace: "n".into(), primary_key: key.into() },
            cells: cells
                .iter()
                .map(|name| FeatureCell {
                    feature: (*name).into(),
                    observed_at: 258,
                    expires_at: None,
                    value: Some(Value::Int(7)),
                })
                .collect(),
        };
        let mut bytes = BytesMut::new();
        let rows = [row("1", &["a", "bb"]), row("22", &["a"])];
        call(&Bytes::from_static(b"sha"), "p/", rows.iter(), 0, &mut bytes);
        let value = "\0\0\0\0\0\0\u{1}\u{2}\0\0\0\0\0\0\0\0\u{7}";
        let mut header = b"\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\x01\x02".to_vec();
        header.extend([255; 8]);
        let mut expected =
            b"*15\r\n$7\r\nEVALSHA\r\n$3\r\nsha\r\n$1\r\n2\r\n$9\r\np/e/n/{1}\r\n$10\r\np/e/n/{22}\r\n".to_vec();
        let field = |name: &str| format!("${}\r\n{name}\r\n$17\r\n{value}\r\n", name.len()).into_bytes();
        for (count, fields) in [("2", vec!["a", "bb"]), ("1", vec!["a"])] {
            expected.extend(format!("$1\r\n{count}\r\n$24\r\n").into_bytes());
            expected.extend(&header);
            expected.extend(b"\r\n");
            for name in fields {
                expected.extend(field(name));
            }
        }
        assert_eq!(bytes, expected);
    }
}
