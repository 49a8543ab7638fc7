//! There and back, for every type.

use proptest::prelude::*;

use super::*;
use crate::value::{Value, Vector};

/// A type with values of it, some null.
fn column() -> impl Strategy<Value = (DataType, Vec<Value>)> {
    let leaf = prop_oneof![
        Just(DataType::Bool),
        Just(DataType::Int64),
        Just(DataType::Float64),
        Just(DataType::String),
        Just(DataType::Bytes),
        Just(DataType::Timestamp),
        Just(DataType::Date),
        (1..39_u8, 0..39_u8).prop_map(|(precision, scale)| DataType::Decimal(precision, scale.min(precision))),
        (prop_oneof![Just(Precision::Fp16), Just(Precision::Fp32), Just(Precision::Fp64)], 0..4_u32)
            .prop_map(|(precision, dimension)| DataType::Vector(precision, dimension)),
    ];
    let nested = leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|item| DataType::List(Box::new(item))),
            prop::collection::vec(inner, 0..3).prop_map(|fields| {
                DataType::Struct(fields.into_iter().enumerate().map(|(at, field)| (format!("f{at}"), field)).collect())
            }),
        ]
    });
    nested.prop_flat_map(|data_type| (Just(data_type.clone()), prop::collection::vec(value(data_type), 0..6)))
}

fn value(data_type: DataType) -> BoxedStrategy<Value> {
    let some = match data_type {
        DataType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        DataType::Int64 => any::<i64>().prop_map(Value::Int).boxed(),
        DataType::Float64 => any::<f64>().prop_map(Value::Double).boxed(),
        DataType::String => any::<String>().prop_map(Value::text).boxed(),
        DataType::Bytes => any::<Vec<u8>>().prop_map(|bytes| Value::Bytes(bytes.into())).boxed(),
        DataType::Timestamp => any::<i64>().prop_map(Value::Timestamp).boxed(),
        DataType::Date => any::<i32>().prop_map(Value::Date).boxed(),
        DataType::Decimal(precision, scale) => (0..10_i128.pow(u32::from(precision)), any::<bool>())
            .prop_map(move |(number, negative)| {
                let number = if negative { -number } else { number };
                Value::Decimal(crate::value::decimal::unscaled(&number.to_string(), scale.cast_signed()).into())
            })
            .boxed(),
        DataType::List(item) => prop::collection::vec(value(*item), 0..4).prop_map(Value::List).boxed(),
        DataType::Struct(fields) => {
            let values: Vec<_> = fields.iter().map(|(_, field)| value(field.clone())).collect();
            values
                .prop_map(move |values| {
                    let names = fields.iter().map(|(name, _)| name.as_str().into());
                    Value::Struct(names.zip(values).collect())
                })
                .boxed()
        }
        DataType::Vector(precision, dimension) => prop::collection::vec(any::<u16>(), dimension as usize)
            .prop_map(move |bits| {
                let number = |bits: &u16| half::f16::from_bits(*bits).to_f32();
                Value::Vector(Arc::new(match precision {
                    Precision::Fp16 => Vector::Fp16(bits),
                    Precision::Fp32 => Vector::Fp32(bits.iter().map(number).collect()),
                    Precision::Fp64 => Vector::Fp64(bits.iter().map(|bits| number(bits).into()).collect()),
                }))
            })
            .boxed(),
    };
    prop_oneof![1 => Just(Value::Null), 4 => some].boxed()
}

proptest! {
    // Seen to fail with the items of a null list taken for those of the next.
    #[test]
    fn values_come_back_from_an_array_as_they_were((data_type, values) in column(), from in any::<prop::sample::Index>()) {
        let cells: Vec<&Value> = values.iter().collect();
        let array = array(&type_of(&data_type), &cells).expect("they fit");
        prop_assert_eq!(array.data_type(), &type_of(&data_type));
        // As text, since a NaN equals nothing.
        let found = super::values(&array);
        prop_assert_eq!(format!("{found:?}"), format!("{values:?}"));
        let from = from.index(values.len() + 1);
        let rest = super::values(&array.slice(from, values.len() - from));
        prop_assert_eq!(format!("{rest:?}"), format!("{:?}", &values[from..]));
    }
}

#[test]
fn an_array_of_some_rows_counts_as_what_those_rows_take() {
    let text = "x".repeat(1_000);
    let cells = vec![Value::text(text); 100];
    let array = array(&Arrow::Utf8, &cells.iter().collect::<Vec<_>>()).expect("text");
    assert!(size(&array) >= 100_000);
    assert!(size(&array.slice(3, 1)) < 2_000);
}
