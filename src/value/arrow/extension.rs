//! Values that no Arrow type holds exactly, as text in columns that say so.
//!
//! Arrow marks such a column by the name of an extension type in its field's metadata, which a parquet file keeps:
//! `arrow.json`, which other programs know too, and our own `chalk.decimal`. Whoever knows neither reads text.

use std::collections::HashMap;

use arrow::datatypes::Field;
use bytestring::ByteString;
use serde_json::Value as Json;

use crate::value::decimal::canonical;
use crate::value::{Value, jsonb};

/// Arrow's own keys of a field's metadata.
const NAME: &str = "ARROW:extension:name";
const METADATA: &str = "ARROW:extension:metadata";

/// What the texts of a column stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extension {
    /// Lists and structs whose items are not of one type, in the forms of [`crate::value::jsonb`].
    Json,
    /// Decimals of any number of digits, alone or in lists.
    Decimal,
}

impl Extension {
    const ALL: [Self; 2] = [Self::Json, Self::Decimal];

    const fn name(self) -> &'static str {
        match self {
            Self::Json => "arrow.json",
            Self::Decimal => "chalk.decimal",
        }
    }

    /// What a field is marked as.
    pub fn of(field: &Field) -> Option<Self> {
        let name = field.metadata().get(NAME)?;
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// A field with the mark.
    pub fn mark(self, field: Field) -> Field {
        let mark = [(NAME, self.name()), (METADATA, "")];
        field.with_metadata(
            mark.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect::<HashMap<_, _>>(),
        )
    }

    /// A value as text; a list of decimals as a list of texts. `None` of one that a column of this kind never has.
    pub fn text(self, value: &Value) -> Option<Value> {
        Some(match (self, value) {
            (_, Value::Null) => Value::Null,
            (Self::Json, value) => {
                let mut text = Vec::new();
                jsonb::write(value, &mut text);
                Value::Text(ByteString::try_from(text).ok()?)
            }
            (Self::Decimal, Value::Decimal(text)) => Value::Text(text.clone()),
            (Self::Decimal, Value::Int(number)) => Value::text(number.to_string()),
            (Self::Decimal, Value::List(items)) => {
                Value::List(items.iter().map(|item| self.text(item)).collect::<Option<_>>()?)
            }
            (Self::Decimal, _) => return None,
        })
    }

    /// What a text stands for; the fault is for people.
    pub fn value(self, text: Value) -> Result<Value, String> {
        match (self, text) {
            (_, Value::Null) => Ok(Value::Null),
            (Self::Json, Value::Text(text)) => {
                let json = serde_json::from_str(&text).map_err(|error| format!("not JSON: {error}"))?;
                of_json(json)
            }
            (Self::Decimal, Value::Text(text)) => match canonical(&text) {
                Some(digits) => Ok(Value::Decimal(digits.into_owned().into())),
                None => Err("not a decimal".to_owned()),
            },
            (Self::Decimal, Value::List(items)) => {
                items.into_iter().map(|item| self.value(item)).collect::<Result<_, _>>().map(Value::List)
            }
            (_, _) => Err(format!("no text, in a column of `{}`", self.name())),
        }
    }
}

fn of_json(json: Json) -> Result<Value, String> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Value::Int(integer),
            (None, Some(double)) if !number.is_u64() => Value::Double(double),
            _ => return Err(format!("integer {number} does not fit 64 bits")),
        },
        Json::String(text) => Value::text(text),
        Json::Array(items) => Value::List(items.into_iter().map(of_json).collect::<Result<_, _>>()?),
        Json::Object(fields) => {
            let field = |(name, value): (String, Json)| Ok::<_, String>((name.into(), of_json(value)?));
            Value::Struct(fields.into_iter().map(field).collect::<Result<_, _>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType as Arrow;
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let one = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<f64>().prop_map(Value::Double),
            "[^\0]{0,5}".prop_map(Value::text),
            (-62_135_596_800_000_000..253_402_300_799_999_999_i64).prop_map(Value::Timestamp),
            "[0-9]{1,3}\\.[0-9]{1,3}".prop_map(|text| Value::Decimal(text.into())),
        ];
        one.prop_recursive(4, 30, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
                prop::collection::btree_map("[a-c]{1,2}", inner, 0..3).prop_map(|fields| {
                    Value::Struct(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
                }),
            ]
        })
    }

    proptest! {
        /// Seen to fail with doubles that have no point read back as integers.
        #[test]
        fn what_a_column_of_json_holds_is_written_again_as_it_was(value in any_value()) {
            prop_assume!(value != Value::Null);
            let text = Extension::Json.text(&value).expect("text");
            let again = Extension::Json.value(text.clone()).expect("read");
            prop_assert_eq!(Extension::Json.text(&again).map(|again| format!("{again:?}")), Some(match again {
                Value::Null => "Null".to_owned(),
                _ => format!("{text:?}"),
            }));
        }
    }

    #[test]
    fn a_decimal_keeps_all_its_digits_alone_and_in_lists() {
        let long = Value::Decimal(format!("{}.50", "9".repeat(100)).into());
        let list = Value::List(vec![long.clone(), Value::Null, Value::Decimal("-0.10".into())]);
        for value in [long, list, Value::Null] {
            let text = Extension::Decimal.text(&value).expect("text");
            assert_eq!(Extension::Decimal.value(text), Ok(value));
        }
        assert_eq!(Extension::Decimal.text(&Value::Int(5)), Some(Value::text("5")));
        assert_eq!(Extension::Decimal.text(&Value::Bool(true)), None);
    }

    #[test]
    fn what_is_no_such_text_is_a_fault() {
        for (extension, text) in [
            (Extension::Json, Value::text("{")),
            (Extension::Json, Value::text("18446744073709551615")),
            (Extension::Decimal, Value::text("1e5")),
            (Extension::Decimal, Value::Int(1)),
        ] {
            assert!(extension.value(text.clone()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_mark_is_read_back_and_another_is_none() {
        let field = Field::new("a", Arrow::Utf8, true);
        for extension in Extension::ALL {
            assert_eq!(Extension::of(&extension.mark(field.clone())), Some(extension));
        }
        assert_eq!(Extension::of(&field), None);
        assert_eq!(
            Extension::of(&field.with_metadata(HashMap::from([(NAME.to_owned(), "arrow.uuid".to_owned())]))),
            None
        );
    }
}
