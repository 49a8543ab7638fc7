//! The type that a value itself suggests, for columns that nobody declared.

use super::decimal::Digits;
use super::dtype::{DataType, Precision};
use super::{Value, Vector};

impl DataType {
    /// The type of a value, where the value says it.
    ///
    /// `None` for null, for an empty list and a list of nulls, for items without a common type (an
    /// integer and a double have one: double), and for a decimal of more than 38 digits. A field of
    /// a struct that says nothing is left out of the struct's type; a struct without any says nothing.
    pub fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Null => return None,
            Value::Bool(_) => Self::Bool,
            Value::Int(_) => Self::Int64,
            Value::Double(_) => Self::Float64,
            Value::Text(_) => Self::String,
            Value::Bytes(_) => Self::Bytes,
            Value::Timestamp(_) => Self::Timestamp,
            Value::Date(_) => Self::Date,
            Value::Decimal(text) => {
                let digits = Digits::parse(text)?;
                let precision = (digits.whole.len() + digits.fraction.len()).max(1);
                if precision > 38 {
                    return None;
                }
                Self::Decimal(precision as u8, digits.fraction.len() as u8)
            }
            Value::List(items) => Self::List(Box::new(common(items)?)),
            Value::Struct(fields) => {
                let typed: Vec<_> = fields
                    .iter()
                    .filter_map(|(name, value)| Self::of(value).map(|data_type| (name.to_string(), data_type)))
                    .collect();
                if typed.is_empty() {
                    return None;
                }
                Self::Struct(typed)
            }
            Value::Vector(vector) => match vector.dimension() {
                0 => return None,
                dimension => Self::Vector(vector.precision(), u32::try_from(dimension).ok()?),
            },
        })
    }

    /// The narrowest type that values of both types conform to, where there is one.
    pub fn common(self, other: Self) -> Option<Self> {
        match (self, other) {
            (one, two) if one == two => Some(one),
            (Self::Int64, Self::Float64) | (Self::Float64, Self::Int64) => Some(Self::Float64),
            (Self::Decimal(p1, s1), Self::Decimal(p2, s2)) => {
                let scale = s1.max(s2);
                let precision = (p1 - s1).max(p2 - s2) + scale;
                (precision <= 38).then_some(Self::Decimal(precision, scale))
            }
            (Self::List(one), Self::List(two)) => one.common(*two).map(|item| Self::List(Box::new(item))),
            (Self::Struct(mut one), Self::Struct(two)) => {
                for (name, data_type) in two {
                    match one.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, known)) => *known = known.clone().common(data_type)?,
                        None => one.push((name, data_type)),
                    }
                }
                Some(Self::Struct(one))
            }
            _ => None,
        }
    }
}

fn common(items: &[Value]) -> Option<DataType> {
    let mut found: Option<DataType> = None;
    for item in items.iter().filter(|item| **item != Value::Null) {
        // A nested empty list says nothing and agrees with every list.
        let Some(data_type) = DataType::of(item) else {
            if matches!(item, Value::List(_) | Value::Struct(_)) {
                continue;
            }
            return None;
        };
        found = Some(match found {
            None => data_type,
            Some(known) => known.common(data_type)?,
        });
    }
    found
}

impl Precision {
    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fp16 => "fp16",
            Self::Fp32 => "fp32",
            Self::Fp64 => "fp64",
        }
    }
}

impl Vector {
    /// The width of its elements.
    pub const fn precision(&self) -> Precision {
        match self {
            Self::Fp16(_) => Precision::Fp16,
            Self::Fp32(_) => Precision::Fp32,
            Self::Fp64(_) => Precision::Fp64,
        }
    }

    /// The elements as doubles, which every precision is without loss.
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Self::Fp16(bits) => bits.iter().map(|bits| half::f16::from_bits(*bits).to_f64()).collect(),
            Self::Fp32(elements) => elements.iter().copied().map(f64::from).collect(),
            Self::Fp64(elements) => elements.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_the_type_that_its_items_have_in_common() {
        let of = |value: Value| DataType::of(&value).map(|data_type| data_type.to_string());
        let list = Value::List;
        assert_eq!(of(list(vec![Value::Null, Value::Int(1)])).as_deref(), Some("list<int64>"));
        assert_eq!(of(list(vec![Value::Int(1), Value::Double(0.5)])).as_deref(), Some("list<float64>"));
        assert_eq!(of(list(vec![Value::Int(1), Value::text("a")])), None);
        assert_eq!(of(list(vec![])), None);
        assert_eq!(of(list(vec![list(vec![]), list(vec![Value::Bool(true)])])).as_deref(), Some("list<list<bool>>"));
        let decimals = list(vec![Value::Decimal("12.5".into()), Value::Decimal("0.125".into())]);
        assert_eq!(of(decimals).as_deref(), Some("list<decimal(5,3)>"));
        let one = Value::Struct(vec![("a".into(), Value::Int(1)), ("b".into(), Value::Null)]);
        let two = Value::Struct(vec![("b".into(), Value::Bool(true))]);
        assert_eq!(of(list(vec![one, two])).as_deref(), Some("list<struct<a: int64, b: bool>>"));
    }
}
