//! `QueryResult` as JSON: proto3's mapping, and rows as a person would write them.
//!
//! Read in one pass over text that is checked to be UTF-8 once; texts are slices of the message but
//! for those with escapes. A wrong syntax, a key that stands twice, or a wrong type outside of the
//! rows refuses the message; what is wrong inside a row is a fault of that row alone.

mod check;
mod errors;
mod part;
mod plain;
mod query;
mod reader;
mod row;
mod runs;
mod scan;
mod table;
mod unknown;
mod value;

pub use check::checked;
pub use unknown::unknown_fields;

use bytes::Bytes;
use bytestring::ByteString;

use self::errors::QueryError;
use self::part::{Each, Ignored, Part, Seen};
use self::query::Query;
use self::reader::{Enum, Flag, Reader, Text, Time};
use self::runs::Run;
use self::scan::{Fault, Object, Scanner};
use self::table::Tables;
use super::sniff::without_mark;
use super::{Persistence, QueryResult, Wanted};
use crate::proto::common::v1::OperationKind;
use crate::sink::{ErrorClass, Refusal};

/// Reads a message, of which no more than `limit` bytes may be decoded, into `result`, which is as new.
pub(super) fn decode(body: &Bytes, wanted: Wanted, limit: usize, result: &mut QueryResult) -> Result<(), Refusal> {
    let body = body.slice_ref(without_mark(body));
    let text = ByteString::try_from(body.clone()).map_err(|_| not_utf8(&body))?;
    let reader = Reader::new(&text, limit);
    Scanner::new(&text).read(Message { reader: &reader, wanted, result }).map_err(|fault| refusal(&text, fault))
}

#[cold]
fn not_utf8(body: &[u8]) -> Refusal {
    let at = std::str::from_utf8(body).err().map_or(0, |error| error.valid_up_to());
    refused(format!("JSON: not UTF-8 at byte {at}"))
}

fn refused(message: String) -> Refusal {
    Refusal::new(ErrorClass::Decode, message)
}

/// What is wrong, and where: line, column, and the byte that both mean.
#[cold]
fn refusal(text: &str, fault: Fault) -> Refusal {
    let (class, what, at) = fault.into_parts();
    let what = &what[..what.floor_char_boundary(300)];
    let before = &text.as_bytes()[..at];
    // The byte at fault itself ends no line before it.
    let ended = &before[..at.saturating_sub(1)];
    let line = ended.split(|byte| *byte == b'\n').count();
    let start = ended.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let refusal = Refusal::new(class, format!("JSON: {what} at line {line}, column {} (byte {at})", at - start));
    if class == ErrorClass::TooLarge { refusal.harmless() } else { refusal }
}

/// The whole message.
struct Message<'r, 'de> {
    reader: &'r Reader<'de>,
    wanted: Wanted,
    result: &'r mut QueryResult,
}

impl<'de> Part<'de> for Message<'_, 'de> {
    type Output = ();

    fn wrong(self, found: &str) -> Result<(), Fault> {
        Err(Fault::new(format!("expected a QueryResult as an object, found {found}")))
    }

    fn object(self, mut object: Object<'_, 'de>) -> Result<(), Fault> {
        let Self { reader, wanted, result } = self;
        let mut seen = Seen::default();
        let text = |field| Text(reader, field);
        while let Some(key) = object.key()? {
            match &*key {
                "environment_id" | "environmentId" => {
                    seen.field(0, "environment_id")?;
                    result.environment_id = object.value(text("environment_id"))?;
                }
                "deployment_id" | "deploymentId" => {
                    seen.field(1, "deployment_id")?;
                    result.deployment_id = object.value(text("deployment_id"))?;
                }
                "operation_id" | "operationId" => {
                    seen.field(2, "operation_id")?;
                    result.operation_id = object.value(text("operation_id"))?;
                }
                "operation_kind" | "operationKind" => {
                    seen.field(3, "operation_kind")?;
                    result.operation_kind = object.value(operation_kind())?;
                }
                "observed_at" | "observedAt" => {
                    seen.field(4, "observed_at")?;
                    result.observed_at = object.value(Time("observed_at"))?;
                }
                "tables" => {
                    seen.field(5, "tables")?;
                    object.value(Tables { reader, tables: &mut result.tables })?;
                }
                "persistence" => {
                    seen.field(6, "persistence")?;
                    result.persistence = object.value(PersistenceSettings { wanted })?;
                }
                "query" => {
                    seen.field(7, "query")?;
                    if wanted.query {
                        result.query = object.value(Query { reader })?;
                    } else {
                        object.value(Ignored)?;
                    }
                }
                "errors" => {
                    seen.field(8, "errors")?;
                    if wanted.metrics {
                        result.errors = object.value(Each { field: "errors", of: || QueryError { reader } })?;
                    } else {
                        object.value(Ignored)?;
                    }
                }
                "resolver_runs" | "resolverRuns" => {
                    seen.field(9, "resolver_runs")?;
                    if wanted.metrics {
                        result.resolver_runs = object.value(Each { field: "resolver_runs", of: || Run { reader } })?;
                    } else {
                        object.value(Ignored)?;
                    }
                }
                _ => {
                    seen.key(key)?;
                    object.value(Ignored)?;
                }
            }
        }
        if seen.any() { Ok(()) } else { Err(Fault::new(super::NOTHING_KNOWN)) }
    }
}

fn operation_kind() -> Enum<fn(i32) -> Option<&'static str>> {
    Enum {
        field: "operation_kind",
        prefix: "OPERATION_KIND_",
        name_of: |number| OperationKind::try_from(number).ok().map(|kind| kind.as_str_name()),
    }
}

struct PersistenceSettings {
    wanted: Wanted,
}

impl<'de> Part<'de> for PersistenceSettings {
    type Output = Persistence;

    fn wrong(self, found: &str) -> Result<Persistence, Fault> {
        Err(Fault::new(format!("`persistence`: expected an object, found {found}")))
    }

    fn null(self) -> Result<Persistence, Fault> {
        Ok(Persistence::default())
    }

    fn object(self, mut object: Object<'_, 'de>) -> Result<Persistence, Fault> {
        let mut persistence = Persistence::default();
        let mut seen = Seen::default();
        while let Some(key) = object.key()? {
            match &*key {
                "persist_online_storage" | "persistOnlineStorage" => {
                    seen.field(0, "persist_online_storage")?;
                    persistence.online = object.value(Flag("persist_online_storage"))?.unwrap_or(true);
                }
                "persist_offline_storage" | "persistOfflineStorage" => {
                    seen.field(1, "persist_offline_storage")?;
                    persistence.offline = object.value(Flag("persist_offline_storage"))?.unwrap_or(true);
                }
                "persist_verbose_metrics" | "persistVerboseMetrics" if self.wanted.metrics => {
                    seen.field(2, "persist_verbose_metrics")?;
                    persistence.verbose_metrics = object.value(Flag("persist_verbose_metrics"))?.unwrap_or(true);
                }
                "persist_status_metrics" | "persistStatusMetrics" if self.wanted.metrics => {
                    seen.field(3, "persist_status_metrics")?;
                    persistence.status_metrics = object.value(Flag("persist_status_metrics"))?.unwrap_or(true);
                }
                _ => {
                    seen.key(key)?;
                    object.value(Ignored)?;
                }
            }
        }
        Ok(persistence)
    }
}
