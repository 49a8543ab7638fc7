//! Declared types of features: how the configuration spells them.

use std::fmt;
use std::str::FromStr;

/// The type that a feature is declared to have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// `bool`
    Bool,
    /// `int64`
    Int64,
    /// `float64`
    Float64,
    /// `string`
    String,
    /// `bytes`
    Bytes,
    /// `timestamp`: microseconds, UTC
    Timestamp,
    /// `date`
    Date,
    /// `decimal(precision, scale)`
    Decimal(u8, u8),
    /// `list<T>`
    List(Box<DataType>),
    /// `struct<name: T, …>`
    Struct(Vec<(String, DataType)>),
    /// `vector<fp16|fp32|fp64, dimension>`
    Vector(Precision, u32),
}

/// Width of a vector's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Half precision.
    Fp16,
    /// Single precision.
    Fp32,
    /// Double precision.
    Fp64,
}

/// What is wrong with the spelling of a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DataTypeError(String);

const KNOWN: &str = "bool, int64, float64, string, bytes, timestamp, date, decimal(p,s), list<T>, struct<name: T, …>, \
                     vector<fp16|fp32|fp64, n>";

/// Deeper types than values may be are not worth a stack.
const DEEPEST: usize = 64;

impl FromStr for DataType {
    type Err = DataTypeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parser = Parser { rest: text };
        let parsed = parser.data_type(0)?;
        parser.skip_space();
        if parser.rest.is_empty() {
            Ok(parsed)
        } else {
            Err(DataTypeError(format!("`{}` after the type", parser.rest)))
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn word(&mut self) -> &'a str {
        self.skip_space();
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn take(&mut self, wanted: char) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, wanted: char) -> Result<(), DataTypeError> {
        if self.take(wanted) {
            return Ok(());
        }
        let found = self.rest.chars().next().map_or("the end".to_owned(), |c| format!("`{c}`"));
        Err(DataTypeError(format!("expected `{wanted}`, found {found}")))
    }

    fn number<N: FromStr>(&mut self, what: &str) -> Result<N, DataTypeError> {
        let word = self.word();
        word.parse().map_err(|_| DataTypeError(format!("`{word}` is not a {what}")))
    }

    fn data_type(&mut self, depth: usize) -> Result<DataType, DataTypeError> {
        if depth > DEEPEST {
            return Err(DataTypeError(format!("nested deeper than {DEEPEST}")));
        }
        let word = self.word();
        Ok(match word.to_ascii_lowercase().as_str() {
            "bool" => DataType::Bool,
            "int64" => DataType::Int64,
            "float64" => DataType::Float64,
            "string" => DataType::String,
            "bytes" => DataType::Bytes,
            "timestamp" => DataType::Timestamp,
            "date" => DataType::Date,
            "decimal" => self.decimal()?,
            "list" => {
                self.expect('<')?;
                let item = self.data_type(depth + 1)?;
                self.expect('>')?;
                DataType::List(Box::new(item))
            }
            "struct" => self.fields(depth)?,
            "vector" => self.vector()?,
            _ => return Err(DataTypeError(format!("unknown type `{word}`; known are {KNOWN}"))),
        })
    }

    fn decimal(&mut self) -> Result<DataType, DataTypeError> {
        self.expect('(')?;
        let precision: u8 = self.number("precision")?;
        self.expect(',')?;
        let scale: u8 = self.number("scale")?;
        self.expect(')')?;
        if precision == 0 || precision > 38 || scale > precision {
            return Err(DataTypeError(format!(
                "decimal({precision},{scale}): the precision is 1 to 38 and the scale no larger"
            )));
        }
        Ok(DataType::Decimal(precision, scale))
    }

    fn fields(&mut self, depth: usize) -> Result<DataType, DataTypeError> {
        self.expect('<')?;
        let mut fields: Vec<(String, DataType)> = Vec::new();
        loop {
            let name = self.word().to_owned();
            if name.is_empty() {
                return Err(DataTypeError("a field of a struct needs a name".to_owned()));
            }
            if fields.iter().any(|(known, _)| *known == name) {
                return Err(DataTypeError(format!("field `{name}` stands twice")));
            }
            self.expect(':')?;
            fields.push((name, self.data_type(depth + 1)?));
            if !self.take(',') {
                break;
            }
        }
        self.expect('>')?;
        Ok(DataType::Struct(fields))
    }

    fn vector(&mut self) -> Result<DataType, DataTypeError> {
        self.expect('<')?;
        let precision = match self.word() {
            "fp16" => Precision::Fp16,
            "fp32" => Precision::Fp32,
            "fp64" => Precision::Fp64,
            other => return Err(DataTypeError(format!("unknown precision `{other}`; known are fp16, fp32, fp64"))),
        };
        self.expect(',')?;
        let dimension: u32 = self.number("dimension")?;
        self.expect('>')?;
        if dimension == 0 {
            return Err(DataTypeError("a vector has at least one dimension".to_owned()));
        }
        Ok(DataType::Vector(precision, dimension))
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Int64 => f.write_str("int64"),
            Self::Float64 => f.write_str("float64"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Date => f.write_str("date"),
            Self::Decimal(precision, scale) => write!(f, "decimal({precision},{scale})"),
            Self::List(item) => write!(f, "list<{item}>"),
            Self::Struct(fields) => write_struct(f, fields),
            Self::Vector(precision, dimension) => {
                let precision = match precision {
                    Precision::Fp16 => "fp16",
                    Precision::Fp32 => "fp32",
                    Precision::Fp64 => "fp64",
                };
                write!(f, "vector<{precision}, {dimension}>")
            }
        }
    }
}

/// A struct of fields whose types show themselves.
pub(crate) fn write_struct<T: fmt::Display>(f: &mut fmt::Formatter<'_>, fields: &[(String, T)]) -> fmt::Result {
    f.write_str("struct<")?;
    for (at, (name, data_type)) in fields.iter().enumerate() {
        write!(f, "{}{name}: {data_type}", if at == 0 { "" } else { ", " })?;
    }
    f.write_str(">")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in [
            "bool",
            "decimal(38,9)",
            "list<list<int64>>",
            "struct<a: int64, b: list<struct<c: string>>>",
            "vector<fp32, 128>",
        ] {
            assert_eq!(text.parse::<DataType>().expect(text).to_string(), text);
        }
        assert_eq!(" List < INT64 > ".parse(), Ok(DataType::List(Box::new(DataType::Int64))));
    }

    #[test]
    fn a_wrong_spelling_says_what_is_wrong() {
        let message = |text: &str| text.parse::<DataType>().expect_err(text).to_string();
        assert!(message("int").starts_with("unknown type `int`; known are bool"));
        assert_eq!(message("list<int64"), "expected `>`, found the end");
        assert_eq!(message("bool bool"), "`bool` after the type");
        assert_eq!(message("struct<a: bool, a: bool>"), "field `a` stands twice");
        assert!(message("decimal(39,0)").contains("1 to 38"));
        assert!(message(&"list<".repeat(1000)).contains("deeper than 64"));
    }
}
