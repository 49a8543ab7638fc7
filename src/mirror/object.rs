//! A JSON object whose values stay the text that they came as: what a query asks for is sent on digit by digit.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;

/// Keys in their order, each once, with their values as JSON text.
#[derive(Clone, Debug, Default)]
pub struct Object(Vec<(String, Box<RawValue>)>);

impl Object {
    /// Reads the text of an object; a key that stands twice is an error, because readers differ in which one counts.
    pub fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The text of a key's value; `null` is no value.
    pub fn get(&self, key: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == key)?;
        Some(value.get()).filter(|text| *text != "null")
    }

    /// The text that is a key's value.
    pub fn text(&self, key: &str) -> Option<String> {
        serde_json::from_str(self.get(key)?).ok()
    }

    /// Gives a key a value; at the end where it is new.
    pub fn set(&mut self, key: &str, value: &impl Serialize) {
        let value = serde_json::value::to_raw_value(value).expect("text, lists and objects always have a JSON form");
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, place)) => *place = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }

    /// The same without a key.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.0.retain(|(known, _)| known != key);
        self
    }

    /// Keys and the texts of their values, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.get()))
    }

    /// Its JSON text.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("keys are text and values are JSON already")
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Object, A::Error> {
                let mut object = Object::default();
                let mut seen = hashbrown::HashSet::new();
                while let Some((key, value)) = entries.next_entry::<String, Box<RawValue>>()? {
                    if !seen.insert(key.clone()) {
                        return Err(de::Error::custom(format_args!("key `{key}` stands twice")));
                    }
                    object.0.push((key, value));
                }
                Ok(object)
            }
        }

        deserializer.deserialize_map(Keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_touched_stays_as_it_was_written() {
        let text = r#"{"b":123456789012345678901234567890.10,"a":{"x":1e400},"n":null}"#;
        let mut object = Object::from_text(text).expect("an object");
        assert_eq!(object.to_text(), text);
        assert_eq!((object.get("n"), object.get("a"), object.get("z")), (None, Some(r#"{"x":1e400}"#), None));
        object.set("b", &"text");
        object.set("c", &[1]);
        assert_eq!(object.text("b").as_deref(), Some("text"));
        assert_eq!(object.without("a").to_text(), r#"{"b":"text","n":null,"c":[1]}"#);
    }

    #[test]
    fn a_key_that_stands_twice_and_what_is_no_object_are_errors() {
        let twice = Object::from_text(r#"{"a":1,"a":2}"#).expect_err("twice").to_string();
        assert!(twice.contains("key `a` stands twice"), "{twice}");
        assert!(Object::from_text("[1]").is_err());
        assert!(Object::from_text("{} 1").is_err());
    }
}
