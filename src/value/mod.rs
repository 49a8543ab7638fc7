//! A feature's value, in the types that every encoding and every store agree on.

pub mod arrow;
pub mod conform;
pub mod decimal;
pub mod dtype;
pub mod infer;
pub mod json;
pub mod jsonb;
pub mod msgpack;
pub mod time;
mod vector;

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;

pub use vector::Metric;

/// One value with its type. Text and bytes are slices of the message that they came in.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A value that is known to be absent.
    Null,
    /// True or false.
    Bool(bool),
    /// A 64-bit integer; never passed through a double.
    Int(i64),
    /// A 64-bit IEEE number, not-a-number and the infinities included.
    Double(f64),
    /// Unicode text.
    Text(ByteString),
    /// Bytes.
    Bytes(Bytes),
    /// Microseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// Days since 1970-01-01.
    Date(i32),
    /// A decimal in canonical text: an optional `-`, digits, at most one `.`; no exponent.
    Decimal(ByteString),
    /// A list.
    List(Vec<Value>),
    /// Named fields in order.
    Struct(Vec<(ByteString, Value)>),
    /// A vector of fixed size.
    Vector(Arc<Vector>),
}

/// A vector with its precision; half precision is kept as its 16 bits.
#[derive(Clone, Debug, PartialEq)]
pub enum Vector {
    /// IEEE half precision, each element its bits.
    Fp16(Vec<u16>),
    /// Single precision.
    Fp32(Vec<f32>),
    /// Double precision.
    Fp64(Vec<f64>),
}

impl Value {
    /// Bytes that it holds beyond its own size.
    // Asked of every value of every row, of which hardly any holds others.
    #[inline]
    pub fn heap_size(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Double(_) | Self::Timestamp(_) | Self::Date(_) => 0,
            Self::Text(text) | Self::Decimal(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(_) | Self::Struct(_) | Self::Vector(_) => self.size_of_items(),
        }
    }

    fn size_of_items(&self) -> usize {
        match self {
            Self::List(items) => items.iter().map(Self::size).sum(),
            Self::Struct(fields) => fields.iter().map(|(name, value)| name.len() + value.size()).sum(),
            Self::Vector(vector) => vector.dimension() * vector.width(),
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Double(_)
            | Self::Timestamp(_)
            | Self::Date(_)
            | Self::Text(_)
            | Self::Decimal(_)
            | Self::Bytes(_) => 0,
        }
    }

    /// Bytes that it takes in memory.
    #[inline]
    pub fn size(&self) -> usize {
        std::mem::size_of::<Self>() + self.heap_size()
    }

    /// Takes the place of null, of which there is nothing to drop: it is not looked at for that. What else was there would
    /// be leaked.
    #[inline]
    pub(crate) fn fill(&mut self, value: Self) {
        debug_assert!(matches!(self, Self::Null), "a value is filled in once");
        std::mem::forget(std::mem::replace(self, value));
    }

    /// Text from a Rust string.
    pub fn text(text: impl Into<ByteString>) -> Self {
        Self::Text(text.into())
    }
}

impl Vector {
    /// Number of elements.
    pub fn dimension(&self) -> usize {
        match self {
            Self::Fp16(elements) => elements.len(),
            Self::Fp32(elements) => elements.len(),
            Self::Fp64(elements) => elements.len(),
        }
    }

    /// Bytes of one element.
    pub fn width(&self) -> usize {
        match self {
            Self::Fp16(_) => 2,
            Self::Fp32(_) => 4,
            Self::Fp64(_) => 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_what_it_holds_down_to_the_last() {
        let own = std::mem::size_of::<Value>();
        let list =
            Value::List(vec![Value::text("abc"), Value::Null, Value::List(vec![Value::Bytes(vec![0; 5].into())])]);
        assert_eq!(list.heap_size(), (own + 3) + own + (own + (own + 5)));
        let fields = vec![("name".into(), Value::Decimal("1.5".into())), ("at".into(), Value::Timestamp(1))];
        assert_eq!(Value::Struct(fields).heap_size(), (4 + own + 3) + (2 + own));
        assert_eq!(Value::Vector(Arc::new(Vector::Fp16(vec![0; 7]))).heap_size(), 14);
        let plain = [Value::Null, Value::Bool(true), Value::Int(1), Value::Double(0.5), Value::Date(1)];
        assert!(plain.iter().all(|value| value.heap_size() == 0 && value.size() == own));
    }
}
