//! Rows as the server's binary `COPY` takes them, written straight into the bytes that are sent.

use half::f16;

use super::types::{ColumnType, Scalar};
use crate::store::postgres::binary::{self, LONGEST_FRACTION, NULL, array_head, with_length};
use crate::value::{Value, Vector, jsonb};

/// What begins a `COPY`: its signature, no flags, no extension.
pub(super) const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What ends it.
pub(super) const TAIL: [u8; 2] = (-1_i16).to_be_bytes();

/// The first byte of a `jsonb` on its way.
const JSONB: u8 = 1;

/// A value that was not held against its column.
#[derive(Debug)]
pub(super) struct Misplaced;

/// Appends one field of a row. The value must fit the column.
pub(super) fn field(column: &ColumnType, value: &Value, out: &mut Vec<u8>) -> Result<(), Misplaced> {
    if matches!(value, Value::Null) {
        out.extend_from_slice(&NULL);
        return Ok(());
    }
    match (column, value) {
        (ColumnType::One(scalar), value) => return one(*scalar, value, out),
        (ColumnType::Jsonb, value) => with_length(out, |out| {
            out.push(JSONB);
            jsonb::write(value, out);
        }),
        (ColumnType::Many(scalar), Value::List(items)) => {
            let mut all = Ok(());
            with_length(out, |out| {
                array_head(out, items.len(), items.contains(&Value::Null), &scalar.wire());
                all = items.iter().try_for_each(|item| match item {
                    Value::Null => {
                        out.extend_from_slice(&NULL);
                        Ok(())
                    }
                    item => one(*scalar, item, out),
                });
            });
            return all;
        }
        (ColumnType::Many(scalar), Value::Vector(vector)) => with_length(out, |out| elements(*scalar, vector, out)),
        _ => return Err(Misplaced),
    }
    Ok(())
}

fn one(scalar: Scalar, value: &Value, out: &mut Vec<u8>) -> Result<(), Misplaced> {
    match (scalar, value) {
        (Scalar::Text | Scalar::Varchar(_), Value::Text(text)) => binary::bytes(out, text.as_bytes()),
        (Scalar::Int8, Value::Int(number)) => binary::bytes(out, &number.to_be_bytes()),
        (Scalar::Float8, Value::Double(number)) => binary::bytes(out, &number.to_be_bytes()),
        (Scalar::Float8, Value::Int(number)) => binary::bytes(out, &(*number as f64).to_be_bytes()),
        (Scalar::Bool, Value::Bool(value)) => binary::bytes(out, &[u8::from(*value)]),
        (Scalar::Timestamptz(_), Value::Timestamp(time)) => {
            binary::bytes(out, &binary::timestamptz(*time).to_be_bytes());
        }
        (Scalar::Date, Value::Date(day)) => binary::bytes(out, &binary::date(*day).to_be_bytes()),
        (Scalar::Bytea, Value::Bytes(bytes)) => binary::bytes(out, bytes),
        (Scalar::Numeric(limits), Value::Decimal(text)) => numeric(limits, text, out),
        (Scalar::Numeric(limits), Value::Int(number)) => numeric(limits, &number.to_string(), out),
        (Scalar::Int2, Value::Int(number)) => {
            binary::bytes(out, &i16::try_from(*number).map_err(|_| Misplaced)?.to_be_bytes());
        }
        (Scalar::Int4, Value::Int(number)) => {
            binary::bytes(out, &i32::try_from(*number).map_err(|_| Misplaced)?.to_be_bytes());
        }
        (Scalar::Float4, Value::Double(number)) => binary::bytes(out, &(*number as f32).to_be_bytes()),
        _ => return Err(Misplaced),
    }
    Ok(())
}

/// A decimal that may have more zeros at its end than its column has places, or than a `numeric` can have.
fn numeric(limits: Option<(u16, u16)>, text: &str, out: &mut Vec<u8>) {
    let scale = limits.map_or(LONGEST_FRACTION, |(_, scale)| usize::from(scale));
    with_length(out, |out| binary::numeric(out, text, scale));
}

fn elements(scalar: Scalar, vector: &Vector, out: &mut Vec<u8>) {
    array_head(out, vector.dimension(), false, &scalar.wire());
    let mut put = |element: f64| match scalar {
        Scalar::Float4 => binary::bytes(out, &(element as f32).to_be_bytes()),
        _ => binary::bytes(out, &element.to_be_bytes()),
    };
    match vector {
        Vector::Fp16(bits) => bits.iter().for_each(|bits| put(f16::from_bits(*bits).to_f64())),
        Vector::Fp32(elements) => elements.iter().for_each(|element| put(f64::from(*element))),
        Vector::Fp64(elements) => elements.iter().for_each(|element| put(*element)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_its_length_and_a_null_none() {
        let bytes = |column: ColumnType, value: Value| {
            let mut out = Vec::new();
            field(&column, &value, &mut out).expect("it fits");
            out
        };
        assert_eq!(bytes(ColumnType::One(Scalar::Text), Value::Null), [255; 4]);
        assert_eq!(bytes(ColumnType::One(Scalar::Text), Value::text("é")), [0, 0, 0, 2, 0xc3, 0xa9]);
        assert_eq!(bytes(ColumnType::One(Scalar::Int4), Value::Int(-2)), [0, 0, 0, 4, 255, 255, 255, 254]);
        assert_eq!(bytes(ColumnType::Jsonb, Value::List(vec![])), [0, 0, 0, 3, 1, b'[', b']']);
        let empty = bytes(ColumnType::Many(Scalar::Bool), Value::List(vec![]));
        assert_eq!(empty, [0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16]);
        // The server takes an array's items only by the type that the column names: 1043, and not 25 for `text`.
        let empty = bytes(ColumnType::Many(Scalar::Varchar(Some(3))), Value::List(vec![]));
        assert_eq!(empty, [0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 19]);
        assert!(field(&ColumnType::One(Scalar::Int4), &Value::Int(i64::MAX), &mut Vec::new()).is_err());
        assert!(field(&ColumnType::One(Scalar::Bool), &Value::Int(1), &mut Vec::new()).is_err());
        assert_eq!(HEAD.len(), 19);
    }
}
