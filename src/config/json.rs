//! Reads JSON without losing anything: a key that stands twice in one object is a finding.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::errors::{ConfigError, Problem};
use super::path;

/// The value of a text, and the paths of keys that stand twice (the last one is kept).
pub(super) fn read(text: &str) -> Result<(Value, Vec<ConfigError>), Box<ConfigError>> {
    let twice = RefCell::new(Vec::new());
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = Reader { at: String::new(), twice: &twice }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| syntax(&error))?;
    let twice = twice
        .into_inner()
        .into_iter()
        .map(|path| ConfigError { path, origin: None, problem: Problem::DuplicateKey })
        .collect();
    Ok((read, twice))
}

fn syntax(error: &serde_json::Error) -> Box<ConfigError> {
    let text = error.to_string();
    let reason = text.split_once(" at line ").map_or(&*text, |(reason, _)| reason).to_owned();
    let problem = Problem::Syntax { line: error.line(), column: error.column(), reason };
    Box::new(ConfigError { path: String::new(), origin: None, problem })
}

struct Reader<'a> {
    at: String,
    twice: &'a RefCell<Vec<String>>,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut read = Vec::new();
        while let Some(item) =
            items.next_element_seed(Reader { at: path::index(&self.at, read.len()), twice: self.twice })?
        {
            read.push(item);
        }
        Ok(Value::Array(read))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut read = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let at = path::key(&self.at, &key);
            let value = entries.next_value_seed(Reader { at: at.clone(), twice: self.twice })?;
            if read.insert(key, value).is_some() {
                self.twice.borrow_mut().push(at);
            }
        }
        Ok(Value::Object(read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syntax_error_has_its_line_and_column() {
        let error = read("{\n  \"a\": 1,\n  \"b\" 2\n}").expect_err("no colon");
        assert_eq!(error.to_string(), "line 3, column 7: expected `:`");
        assert_eq!(read("{} x").expect_err("more behind it").to_string(), "line 1, column 4: trailing characters");
        assert_eq!(read("").expect_err("nothing").to_string(), "line 1, column 0: EOF while parsing a value");
    }

    #[test]
    fn every_key_that_stands_twice_is_found() {
        let (_, twice) = read(r#"{"a": 1, "b": [{"c": 1, "c": 1}], "a": {"d": 1}, "x.y": 1, "x.y": 2}"#).expect("JSON");
        let twice: Vec<_> = twice.iter().map(ToString::to_string).collect();
        assert_eq!(
            twice,
            [
                "b[0].c: stands twice in one object",
                "a: stands twice in one object",
                "[\"x.y\"]: stands twice in one object"
            ]
        );
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_crash() {
        assert!(read(&"[".repeat(100_000)).is_err());
    }
}
