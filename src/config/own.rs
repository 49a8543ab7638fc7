//! Settings that one store has beside its URI. Its description names them ([`OwnFields`]), the schema and the file have
//! them beside `uri`, and the store reads them as a type of its own when it is opened ([`OwnSettings::read`]).

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use super::leaf::{Maybe, given};

/// The names of a store's own settings, and how the schema describes them.
#[derive(Clone, Copy, Debug)]
pub struct OwnFields {
    properties: fn() -> Map<String, Value>,
    inherited: &'static [(&'static str, &'static str)],
}

impl OwnFields {
    /// Of a store that has none.
    pub const NONE: Self = Self { properties: Map::new, inherited: &[] };

    /// The fields of a type, whose documentation is that of the settings.
    pub const fn of<T: JsonSchema>() -> Self {
        Self { properties: properties_of::<T>, inherited: &[] }
    }

    /// Settings that are not beside the URI: their names in the type, each with the field at the top level of the file
    /// that it is taken from. The type leaves them out of its schema.
    #[must_use]
    pub const fn inherits(self, inherited: &'static [(&'static str, &'static str)]) -> Self {
        Self { inherited, ..self }
    }

    /// The fields beside the URI by name, each with its schema.
    pub fn properties(&self) -> Map<String, Value> {
        (self.properties)()
    }

    /// Names of settings with the fields at the top level that they are taken from.
    pub fn inherited(&self) -> &'static [(&'static str, &'static str)] {
        self.inherited
    }
}

fn properties_of<T: JsonSchema>() -> Map<String, Value> {
    let generator = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    match schema.get_mut("properties").map(Value::take) {
        Some(Value::Object(properties)) => properties,
        _ => Map::new(),
    }
}

/// What the configuration says of a store beside its URI, by the names of its description.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnSettings(Map<String, Value>);

impl OwnSettings {
    /// These and one more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Whether something is said by this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The settings as a store's own type. What other stores of its kind have is passed over.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_value(Value::Object(self.0.clone())).map_err(|error| error.to_string())
    }
}
