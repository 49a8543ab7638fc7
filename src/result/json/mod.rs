//! `QueryResult` as JSON: proto3's mapping, and rows as a person would write them.
//!
//! Read in one pass over text that is checked to be UTF-8 once; texts are slices of the message but
//! for those with escapes. A wrong syntax, a key that stands twice, or a wrong type outside of the
//! rows refuses the message; what is wrong inside a row is a fault of that row alone.

mod part;
mod query;
mod reader;
mod row;
mod table;
mod value;

use bytes::Bytes;
use bytestring::ByteString;
use serde::de::{self, DeserializeSeed as _, MapAccess};

use self::part::{Ignored, Part, Seed, Seen, next_key};
use self::query::Query;
use self::reader::{Enum, Flag, Reader, Text, Time};
use self::table::Tables;
use super::sniff::without_mark;
use super::{Persistence, QueryResult, Wanted};
use crate::proto::common::v1::OperationKind;
use crate::sink::{ErrorClass, Refusal};

/// Reads a message.
pub(super) fn decode(body: &Bytes, wanted: Wanted) -> Result<QueryResult, Refusal> {
    let body = body.slice_ref(without_mark(body));
    let text = ByteString::try_from(body.clone()).map_err(|_| {
        let at = std::str::from_utf8(&body).err().map_or(0, |error| error.valid_up_to());
        refused(format!("JSON: not UTF-8 at byte {at}"))
    })?;
    let reader = Reader::new(&text, false);
    let result = read(&reader, wanted)?;
    if !reader.doubtful.get() {
        return Ok(result);
    }
    // A number beyond 64 bits: once more, telling integers from doubles by their text.
    read(&Reader::new(&text, true), wanted)
}

fn read(reader: &Reader<'_>, wanted: Wanted) -> Result<QueryResult, Refusal> {
    let mut deserializer = serde_json::Deserializer::from_str(reader.text);
    Seed(Message { reader, wanted })
        .deserialize(&mut deserializer)
        .and_then(|result| deserializer.end().map(|()| result))
        .map_err(|error| refusal(reader.text, &error))
}

fn refused(message: String) -> Refusal {
    Refusal::new(ErrorClass::Decode, message)
}

/// What is wrong, and where: line, column, and the byte that both mean.
fn refusal(text: &str, error: &serde_json::Error) -> Refusal {
    let (line, column) = (error.line(), error.column());
    let place = format!(" at line {line} column {column}");
    let what = error.to_string();
    let what = what.strip_suffix(&place).unwrap_or(&what);
    let what = &what[..what.floor_char_boundary(300)];
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    refused(format!("JSON: {what} at line {line}, column {column} (byte {})", start + column))
}

/// The whole message.
struct Message<'r, 'de> {
    reader: &'r Reader<'de>,
    wanted: Wanted,
}

impl<'de> Part<'de> for Message<'_, 'de> {
    type Output = QueryResult;

    fn depth(&self) -> usize {
        0
    }

    fn wrong<E: de::Error>(self, found: &str) -> Result<QueryResult, E> {
        Err(E::custom(format_args!("expected a QueryResult as an object, found {found}")))
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<QueryResult, A::Error> {
        let Self { reader, wanted } = self;
        let mut result = QueryResult::default();
        let mut seen = Seen::default();
        let text = |field| Seed(Text(reader, field, 1));
        while let Some(key) = next_key(&mut object)? {
            match &*key {
                "environment_id" | "environmentId" => {
                    seen.field(0, "environment_id")?;
                    result.environment_id = object.next_value_seed(text("environment_id"))?;
                }
                "deployment_id" | "deploymentId" => {
                    seen.field(1, "deployment_id")?;
                    result.deployment_id = object.next_value_seed(text("deployment_id"))?;
                }
                "operation_id" | "operationId" => {
                    seen.field(2, "operation_id")?;
                    result.operation_id = object.next_value_seed(text("operation_id"))?;
                }
                "operation_kind" | "operationKind" => {
                    seen.field(3, "operation_kind")?;
                    result.operation_kind = object.next_value_seed(Seed(operation_kind()))?;
                }
                "observed_at" | "observedAt" => {
                    seen.field(4, "observed_at")?;
                    result.observed_at = object.next_value_seed(Seed(Time("observed_at", 1)))?;
                }
                "tables" => {
                    seen.field(5, "tables")?;
                    object.next_value_seed(Seed(Tables { reader, tables: &mut result.tables, depth: 1 }))?;
                }
                "persistence" => {
                    seen.field(6, "persistence")?;
                    result.persistence = object.next_value_seed(Seed(PersistenceSettings))?;
                }
                "query" => {
                    seen.field(7, "query")?;
                    if wanted.query {
                        result.query = object.next_value_seed(Seed(Query { reader, depth: 1 }))?;
                    } else {
                        object.next_value_seed(Seed(Ignored(1)))?;
                    }
                }
                "errors" => {
                    seen.field(8, "errors")?;
                    object.next_value_seed(Seed(Ignored(1)))?;
                }
                "resolver_runs" | "resolverRuns" => {
                    seen.field(9, "resolver_runs")?;
                    object.next_value_seed(Seed(Ignored(1)))?;
                }
                _ => {
                    seen.key(key)?;
                    object.next_value_seed(Seed(Ignored(1)))?;
                }
            }
        }
        if seen.any() { Ok(result) } else { Err(de::Error::custom(super::decode::NOTHING_KNOWN)) }
    }
}

fn operation_kind() -> Enum<fn(&str) -> Option<i32>> {
    Enum {
        field: "operation_kind",
        prefix: "OPERATION_KIND_",
        by_name: |name| OperationKind::from_str_name(name).map(i32::from),
        depth: 1,
    }
}

struct PersistenceSettings;

impl<'de> Part<'de> for PersistenceSettings {
    type Output = Persistence;

    fn depth(&self) -> usize {
        1
    }

    fn wrong<E: de::Error>(self, found: &str) -> Result<Persistence, E> {
        Err(E::custom(format_args!("`persistence`: expected an object, found {found}")))
    }

    fn null<E: de::Error>(self) -> Result<Persistence, E> {
        Ok(Persistence::default())
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<Persistence, A::Error> {
        let mut persistence = Persistence::default();
        let mut seen = Seen::default();
        while let Some(key) = next_key(&mut object)? {
            match &*key {
                "persist_online_storage" | "persistOnlineStorage" => {
                    seen.field(0, "persist_online_storage")?;
                    persistence.online =
                        object.next_value_seed(Seed(Flag("persist_online_storage", 2)))?.unwrap_or(true);
                }
                "persist_offline_storage" | "persistOfflineStorage" => {
                    seen.field(1, "persist_offline_storage")?;
                    persistence.offline =
                        object.next_value_seed(Seed(Flag("persist_offline_storage", 2)))?.unwrap_or(true);
                }
                _ => {
                    seen.key(key)?;
                    object.next_value_seed(Seed(Ignored(2)))?;
                }
            }
        }
        Ok(persistence)
    }
}
