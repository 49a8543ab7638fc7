//! What a streaming insert says of its rows beside its body: their table, and how they are to be written.
//!
//! | attribute | value |
//! | --- | --- |
//! | `table` | `table`, `schema.table` or `database.schema.table` |
//! | `writemode` | `append` (without it too) or `upsert` |
//! | `keycolumns` | columns whose values together name a row, separated by commas; `upsert` needs them |
//! | `ordercolumn` | a column with times, of which the latest stands; for `upsert` |
//! | `createtable` | `true` (without it too) or `false` |
//! | `schemahash` | any text that is the same for the same columns and types |
//!
//! On Kafka a header is called `ce_table`, on Pub/Sub an attribute `ce-table`, as those of the envelope are. A name
//! that holds a point, a comma or a quotation mark stands in quotation marks, which are doubled inside: `"a.b"`.

use std::borrow::Cow;
use std::fmt;

use bytes::BytesMut;

use super::envelope::Carrier;
use super::headers::{self, Headers};
use crate::cut::{QUOTED, cut};
use crate::sink::{ErrorClass, Refusal};

const TABLE: &str = "table";
const WRITE_MODE: &str = "writemode";
const KEY_COLUMNS: &str = "keycolumns";
const ORDER_COLUMN: &str = "ordercolumn";
const CREATE_TABLE: &str = "createtable";
const SCHEMA_HASH: &str = "schemahash";

/// What stands between the parts of a table's name, and between key columns.
const POINT: char = '.';
const COMMA: char = ',';

/// The attributes of a streaming insert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InsertAttributes {
    /// Where the rows go.
    pub table: TableName,
    /// What becomes of a row whose key is there already.
    pub mode: WriteMode,
    /// Columns whose values together name a row; not empty for [`WriteMode::Upsert`].
    pub keys: Vec<String>,
    /// The column that says which of two rows of a key is newer.
    pub order: Option<String>,
    /// Whether the table is made where it is not there.
    pub create: bool,
    /// The same for the same columns and types.
    pub schema_hash: Option<String>,
}

/// The name of a table, as far as the message gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    /// The database, which is that of the store or a mistake.
    pub database: Option<String>,
    /// The schema; without one it is the store's.
    pub schema: Option<String>,
    /// The table in it.
    pub table: String,
}

/// What becomes of a row whose key is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteMode {
    /// Rows are added; one that names its observation is added once.
    #[default]
    Append,
    /// The newest row of a key stands.
    Upsert,
}

impl WriteMode {
    const ALL: [Self; 2] = [Self::Append, Self::Upsert];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Upsert => "upsert",
        }
    }
}

impl InsertAttributes {
    /// Reads the attributes of a message. Of one that stands twice the last counts, and an empty one is as good as
    /// none. Refused with [`ErrorClass::Decode`], by the name of the attribute: what is missing or cannot be.
    pub fn read(headers: &Headers) -> Result<Self, Refusal> {
        let table = match given(headers, TABLE)? {
            Some(found) => TableName::read(&found)?,
            None => {
                let expected = "is missing; it names the table: `table`, `schema.table` or `database.schema.table`";
                return Err(decode(format!("attribute `{TABLE}` (header `ce_{TABLE}`) {expected}")));
            }
        };
        let mode = match given(headers, WRITE_MODE)? {
            None => WriteMode::default(),
            Some(found) => WriteMode::ALL
                .into_iter()
                .find(|mode| found.is(mode.as_str()))
                .ok_or_else(|| found.refused("expected `append` or `upsert`"))?,
        };
        let keys = match given(headers, KEY_COLUMNS)? {
            Some(found) => keys(&found)?,
            None if mode == WriteMode::Upsert => {
                return Err(decode(format!(
                    "attribute `{KEY_COLUMNS}` (header `ce_{KEY_COLUMNS}`) is missing; `{WRITE_MODE}` upsert needs the \
                     columns whose values together name a row, separated by commas"
                )));
            }
            None => Vec::new(),
        };
        let order = match given(headers, ORDER_COLUMN)? {
            None => None,
            Some(found) => match parts(found.value, COMMA) {
                Ok(mut names) if names.len() == 1 => names.pop(),
                Ok(_) => return Err(found.refused("expected the name of one column")),
                Err(why) => return Err(found.refused(&format!("expected the name of a column ({why})"))),
            },
        };
        let create = match given(headers, CREATE_TABLE)? {
            None => true,
            Some(found) if found.is("true") => true,
            Some(found) if found.is("false") => false,
            Some(found) => return Err(found.refused("expected `true` or `false`")),
        };
        let schema_hash = given(headers, SCHEMA_HASH)?.map(|found| found.value.to_owned());
        Ok(Self { table, mode, keys, order, create, schema_hash })
    }

    /// The headers of an envelope with these attributes behind them.
    pub fn headers(&self, envelope: &Headers, carrier: Carrier) -> Headers {
        let mut block = BytesMut::from(&envelope.as_block()[..]);
        let keys: Vec<Cow<'_, str>> = self.keys.iter().map(|key| quoted(key)).collect();
        let attributes = [
            (TABLE, self.table.to_string()),
            (WRITE_MODE, self.mode.as_str().to_owned()),
            (KEY_COLUMNS, keys.join(",")),
            (ORDER_COLUMN, self.order.as_deref().map_or_else(String::new, |order| quoted(order).into_owned())),
            (CREATE_TABLE, self.create.to_string()),
            (SCHEMA_HASH, self.schema_hash.clone().unwrap_or_default()),
        ];
        for (name, value) in attributes.iter().filter(|(_, value)| !value.is_empty()) {
            headers::append(&mut block, &format!("{}{name}", carrier.prefix()), Some(value.as_bytes()));
        }
        Headers::from_block(block.freeze())
    }
}

impl TableName {
    fn read(found: &Found<'_>) -> Result<Self, Refusal> {
        const EXPECTED: &str = "expected `table`, `schema.table` or `database.schema.table`";
        let mut names = parts(found.value, POINT).map_err(|why| found.refused(&format!("{EXPECTED} ({why})")))?;
        let table = names.pop().unwrap_or_default();
        let schema = names.pop();
        let database = names.pop();
        if names.is_empty() { Ok(Self { database, schema, table }) } else { Err(found.refused(EXPECTED)) }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.database, &self.schema].into_iter().flatten() {
            write!(f, "{}.", quoted(part))?;
        }
        f.write_str(&quoted(&self.table))
    }
}

/// An attribute that a message has.
struct Found<'a> {
    /// As the header is called.
    header: &'a str,
    value: &'a str,
}

impl Found<'_> {
    fn is(&self, word: &str) -> bool {
        self.value.eq_ignore_ascii_case(word)
    }

    fn refused(&self, expected: &str) -> Refusal {
        decode(format!("header `{}`: {expected}, found `{}`", self.header, cut(self.value, QUOTED)))
    }
}

fn decode(message: String) -> Refusal {
    Refusal::new(ErrorClass::Decode, message)
}

/// The last header of a name on either bus, where it says anything.
fn given<'a>(headers: &'a Headers, attribute: &str) -> Result<Option<Found<'a>>, Refusal> {
    let is = |name: &str| {
        [Carrier::Kafka, Carrier::PubSub].iter().any(|on| name.strip_prefix(on.prefix()) == Some(attribute))
    };
    let Some((header, value)) = headers.iter().filter(|(name, _)| is(name)).last() else { return Ok(None) };
    let value = std::str::from_utf8(value.unwrap_or_default())
        .map_err(|_| decode(format!("header `{header}`: expected text, found bytes that are not UTF-8")))?
        .trim();
    Ok((!value.is_empty()).then_some(Found { header, value }))
}

fn keys(found: &Found<'_>) -> Result<Vec<String>, Refusal> {
    const EXPECTED: &str = "expected names of columns, separated by commas";
    let names = parts(found.value, COMMA).map_err(|why| found.refused(&format!("{EXPECTED} ({why})")))?;
    match names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
        Some((_, twice)) => {
            Err(found.refused(&format!("expected each column once, and `{}` is there twice", cut(twice, QUOTED))))
        }
        None => Ok(names),
    }
}

/// The names in a text, each bare or in quotation marks; at least one.
fn parts(text: &str, separator: char) -> Result<Vec<String>, &'static str> {
    let mut names = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let mut name = String::new();
        if let Some(mut inside) = rest.strip_prefix('"') {
            loop {
                let (before, after) = inside.split_once('"').ok_or("a quotation mark without its other half")?;
                name.push_str(before);
                match after.strip_prefix('"') {
                    Some(more) => {
                        name.push('"');
                        inside = more;
                    }
                    None => {
                        rest = after.trim_start();
                        break;
                    }
                }
            }
            if !rest.is_empty() && !rest.starts_with(separator) {
                return Err("something stands behind a name in quotation marks");
            }
        } else {
            let end = rest.find(separator).unwrap_or(rest.len());
            name.push_str(rest[..end].trim_end());
            rest = &rest[end..];
        }
        if name.is_empty() {
            return Err("a name is empty");
        }
        names.push(name);
        match rest.strip_prefix(separator) {
            Some(more) => rest = more,
            None => return Ok(names),
        }
    }
}

/// A name as [`parts`] reads it back.
fn quoted(name: &str) -> Cow<'_, str> {
    if !name.is_empty() && !name.contains([POINT, COMMA, '"']) && name.trim() == name {
        return Cow::Borrowed(name);
    }
    let mut text = String::with_capacity(name.len() + 2);
    text.push('"');
    for letter in name.chars() {
        if letter == '"' {
            text.push('"');
        }
        text.push(letter);
    }
    text.push('"');
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(headers: &[(&str, &str)]) -> Result<InsertAttributes, String> {
        InsertAttributes::read(&headers.iter().copied().collect()).map_err(|refusal| refusal.to_string())
    }

    fn table(text: &str) -> Result<TableName, String> {
        read(&[("ce_table", text)]).map(|attributes| attributes.table)
    }

    #[test]
    fn a_table_alone_is_appended_to_and_made_where_it_is_missing() {
        let found = read(&[("ce_table", "fraud.scores")]).expect("sound");
        assert_eq!((found.mode, found.create), (WriteMode::Append, true));
        assert_eq!((found.keys, found.order, found.schema_hash), (vec![], None, None));
        let name = |database: Option<&str>, schema: Option<&str>, table: &str| TableName {
            database: database.map(str::to_owned),
            schema: schema.map(str::to_owned),
            table: table.to_owned(),
        };
        assert_eq!(table("scores"), Ok(name(None, None, "scores")));
        assert_eq!(table(" db . fraud.scores "), Ok(name(Some("db"), Some("fraud"), "scores")));
        assert_eq!(table("\"a.b\".\"say \"\"x\"\"\""), Ok(name(None, Some("a.b"), "say \"x\"")));
    }

    #[test]
    fn every_attribute_is_read_on_either_bus() {
        let expected = InsertAttributes {
            table: TableName { database: None, schema: Some("s".to_owned()), table: "t".to_owned() },
            mode: WriteMode::Upsert,
            keys: vec!["a".to_owned(), "b,c".to_owned()],
            order: Some("at".to_owned()),
            create: false,
            schema_hash: Some("0f".to_owned()),
        };
        for prefix in ["ce_", "ce-"] {
            let attributes = [
                ("table", "s.t"),
                ("writemode", "UPSERT"),
                ("keycolumns", "a, \"b,c\""),
                ("ordercolumn", "at"),
                ("createtable", "False"),
                ("schemahash", "0f"),
            ];
            let headers: Vec<_> = attributes.iter().map(|(name, value)| (format!("{prefix}{name}"), *value)).collect();
            let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            assert_eq!(read(&headers), Ok(expected.clone()));
        }
        let last = read(&[("ce_table", "a"), ("ce-table", "b"), ("ce_writemode", "")]).expect("sound");
        assert_eq!((&*last.table.table, last.mode), ("b", WriteMode::Append));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_was_found_and_what_is_allowed() {
        let said = |headers: &[(&str, &str)]| read(headers).expect_err("refused");
        assert_eq!(
            said(&[]),
            "DECODE: attribute `table` (header `ce_table`) is missing; it names the table: `table`, `schema.table` or \
             `database.schema.table`"
        );
        let shape = "DECODE: header `ce_table`: expected `table`, `schema.table` or `database.schema.table`";
        assert_eq!(said(&[("ce_table", "a.b.c.d")]), format!("{shape}, found `a.b.c.d`"));
        assert_eq!(said(&[("ce_table", "a..b")]), format!("{shape} (a name is empty), found `a..b`"));
        assert_eq!(
            said(&[("ce_table", "\"a")]),
            format!("{shape} (a quotation mark without its other half), found `\"a`")
        );
        assert_eq!(
            said(&[("ce_table", "\"a\"b")]),
            format!("{shape} (something stands behind a name in quotation marks), found `\"a\"b`")
        );
        let with = |name: &str, value: &str| said(&[("ce_table", "t"), (name, value)]);
        assert_eq!(
            with("ce_writemode", "merge"),
            "DECODE: header `ce_writemode`: expected `append` or `upsert`, found `merge`"
        );
        assert_eq!(
            with("ce-createtable", "yes"),
            "DECODE: header `ce-createtable`: expected `true` or `false`, found `yes`"
        );
        assert_eq!(
            with("ce_ordercolumn", "a,b"),
            "DECODE: header `ce_ordercolumn`: expected the name of one column, found `a,b`"
        );
        assert_eq!(
            with("ce_keycolumns", "a,,b"),
            "DECODE: header `ce_keycolumns`: expected names of columns, separated by commas (a name is empty), found `a,,b`"
        );
        assert_eq!(
            with("ce_keycolumns", "a,b,a"),
            "DECODE: header `ce_keycolumns`: expected each column once, and `a` is there twice, found `a,b,a`"
        );
        assert_eq!(
            with("ce_writemode", "upsert"),
            "DECODE: attribute `keycolumns` (header `ce_keycolumns`) is missing; `writemode` upsert needs the columns \
             whose values together name a row, separated by commas"
        );
        let bytes: Headers = [("ce_table", Some(&[0xff_u8][..]))].into_iter().collect();
        assert_eq!(
            InsertAttributes::read(&bytes).expect_err("refused").to_string(),
            "DECODE: header `ce_table`: expected text, found bytes that are not UTF-8"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            names in prop::collection::vec("[a-z .,\"é]{1,6}", 1..4),
            keys in prop::collection::btree_set("[a-z .,\"]{1,5}", 1..4),
            order in prop::option::of("[a-z,]{1,4}"),
            upsert: bool,
            create: bool,
            hash in prop::option::of("[0-9a-f]{4}"),
            pubsub: bool,
        ) {
            let mut names = names.into_iter().rev();
            let table = names.next().expect("one at least");
            let table = TableName { schema: names.next(), database: names.next(), table };
            let mode = if upsert { WriteMode::Upsert } else { WriteMode::Append };
            let keys = keys.into_iter().collect();
            let written = InsertAttributes { table, mode, keys, order, create, schema_hash: hash };
            let carrier = if pubsub { Carrier::PubSub } else { Carrier::Kafka };
            let envelope: Headers = [("ce_id", "1")].into_iter().collect();
            let headers = written.headers(&envelope, carrier);
            prop_assert_eq!(headers.get_str("ce_id"), Some("1"));
            prop_assert_eq!(InsertAttributes::read(&headers), Ok(written));
        }
    }
}
