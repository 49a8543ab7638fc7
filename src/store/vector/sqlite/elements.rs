//! Elements of a vector as bytes: little-endian, one after the other, in the precision of the table; and its payload
//! as text.

use crate::value::dtype::Precision;
use crate::value::{Value, Vector, json};

/// The bytes of a vector.
pub(super) fn bytes(vector: &Vector) -> Vec<u8> {
    match vector {
        Vector::Fp16(bits) => bits.iter().flat_map(|bits| bits.to_le_bytes()).collect(),
        Vector::Fp32(elements) => elements.iter().flat_map(|element| element.to_le_bytes()).collect(),
        Vector::Fp64(elements) => elements.iter().flat_map(|element| element.to_le_bytes()).collect(),
    }
}

/// The vector of bytes; what is left over of them, which only others can have written, is left out.
pub(super) fn vector(bytes: &[u8], precision: Precision) -> Vector {
    match precision {
        Precision::Fp16 => Vector::Fp16(bytes.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect()),
        Precision::Fp32 => Vector::Fp32(bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
        Precision::Fp64 => Vector::Fp64(bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()),
    }
}

/// The bytes of a vector in single precision, as sqlite-vec has it.
pub(super) fn single(vector: &Vector) -> Vec<u8> {
    match vector {
        Vector::Fp32(_) => bytes(vector),
        _ => vector.to_f64().into_iter().flat_map(|element| (element as f32).to_le_bytes()).collect(),
    }
}

/// A payload as SQLite compares it: text, by its bytes.
pub(super) fn payload(payload: &Value) -> Vec<u8> {
    json::to_text(payload).into_bytes()
}
