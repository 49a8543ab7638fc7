//! `QueryResult`, the message of the result bus: one finished query, in one shape for every encoding.
//!
//! Text and bytes in it are slices of the message; a part that no writer asks for is passed over
//! without being built (see [`Wanted`]).

mod allowance;
pub mod arrow;
pub mod body;
mod columns;
pub mod decode;
pub mod encode;
mod json;
mod meta;
mod protobuf;
pub mod readable;
pub mod sniff;
pub mod unpack;

use bytes::Bytes;
use bytestring::ByteString;

use crate::proto;
use crate::proto::common::v1::ChalkError;
use crate::proto::writer::v1::ResolverRun;
use crate::value::Value;

pub use columns::{ListId, Names};
pub use decode::decode;
pub use json::{checked, unknown_fields};

/// A message may not be nested deeper, in any encoding: its readers, and those of the stores, use the stack.
const DEEPEST: usize = 64;

/// Why a body is refused that could be read but says nothing: it is some other message.
const NOTHING_KNOWN: &str = "none of the fields of a QueryResult is in it";

/// One finished query: what was asked, what came out, what went wrong.
#[derive(Clone, Debug, Default)]
pub struct QueryResult {
    /// The environment that the body names; empty where it names none.
    pub environment_id: ByteString,
    /// The deployment; may be empty.
    pub deployment_id: ByteString,
    /// The query's id; may be empty.
    pub operation_id: ByteString,
    /// Number of the public `OperationKind`; 0 where it is not given.
    pub operation_kind: i32,
    /// Microseconds since 1970; the time of every row that has none of its own.
    pub observed_at: Option<i64>,
    /// The query itself. `None` where the message carries none, or nobody asked for it.
    pub query: Option<Box<proto::pubsub::v1::QueryMessagePubSub>>,
    /// One table per namespace.
    pub tables: Vec<FeatureTable>,
    /// Whether the results are to be stored online and offline at all.
    pub persistence: Persistence,
    /// What went wrong; empty where nobody asked for it.
    pub errors: Vec<ChalkError>,
    /// The resolvers that ran; empty where nobody asked for them.
    pub resolver_runs: Vec<ResolverRun>,
}

/// Whether a query's results are to be stored and measured; all default to true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persistence {
    /// `persist_online_storage`
    pub online: bool,
    /// `persist_offline_storage`
    pub offline: bool,
    /// `persist_verbose_metrics`; true where nobody asked for it.
    pub verbose_metrics: bool,
    /// `persist_status_metrics`; true where nobody asked for it.
    pub status_metrics: bool,
}

impl Default for Persistence {
    fn default() -> Self {
        Self { online: true, offline: true, verbose_metrics: true, status_metrics: true }
    }
}

/// Which parts of a result a writer uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// [`QueryResult::query`]
    pub query: bool,
    /// What only metrics are made of: [`QueryResult::errors`], [`QueryResult::resolver_runs`], and of
    /// [`QueryResult::persistence`] the two flags about metrics.
    pub metrics: bool,
}

impl Wanted {
    /// All that a result says.
    pub const ALL: Self = Self { query: true, metrics: true };
}

/// The rows of one namespace.
#[derive(Clone, Debug)]
pub struct FeatureTable {
    /// Name of the namespace.
    pub namespace: ByteString,
    /// What it holds.
    pub body: TableBody,
}

/// A table in one of its two forms.
#[derive(Clone, Debug)]
pub enum TableBody {
    /// Row form: columns once, rows aligned with them.
    Rows {
        /// Fully qualified names of features (`user.name`, `user.name@2`).
        columns: Names,
        /// The rows.
        rows: Vec<EntityRow>,
    },
    /// An Arrow IPC file or stream, not opened: [`arrow::table`] does that.
    Arrow(Bytes),
}

/// One entity with the features that the query computed or read for it.
#[derive(Clone, Debug)]
pub struct EntityRow {
    /// The primary key: [`Value::Int`] or [`Value::Text`].
    pub id: Value,
    /// Microseconds since 1970; `None` means the message's.
    pub observed_at: Option<i64>,
    /// The features that the row has; a column that is not named here is absent, not null.
    pub cells: Vec<Cell>,
    /// What makes this one row unreadable, while the message and its other rows are sound.
    pub fault: Option<String>,
}

/// One feature of one entity.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Index into the table's columns.
    pub column: usize,
    /// The value.
    pub value: Value,
    /// Where the value came from.
    pub source: Source,
    /// FQN of the resolver, where it is known. Boxed: most cells have none, and there are many of them.
    pub source_id: Option<Box<ByteString>>,
}

impl Cell {
    /// A cell of which everything is still to be read. One constant, so that it is put down as it is
    /// and not made somewhere else first.
    const ABSENT: Self = Self { column: 0, value: Value::Null, source: Source::Unknown, source_id: None };
}

/// Where a value came from (`source_type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Source {
    /// Not given.
    #[default]
    Unknown,
    /// A resolver computed it.
    Resolver,
    /// A cache hit.
    OnlineStore,
    /// Read from the offline store.
    OfflineStore,
    /// The feature's default.
    Default,
    /// The caller gave it.
    Given,
    /// There is no value.
    Missing,
}

/// What is wrong with a row that has more values than its table has columns.
fn too_many(values: usize, columns: usize) -> String {
    format!("`values`: expected at most {columns}, one for each of `columns`, found {values}")
}

/// Elements of half precision: two bytes each, little-endian.
fn halves(bits: &[u8]) -> Option<Vec<u16>> {
    let (pairs, rest) = bits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect())
}

/// Cells to make room for when a row has its first: as many as the row before it, since rows look
/// alike; never more than a message has paid for, whatever it claims its columns to be.
fn expected_cells(rows: &[EntityRow], columns: usize) -> usize {
    rows.last().map_or(columns, |row| row.cells.len()).clamp(1, 64)
}

/// A name that stands twice in a struct, anywhere in a value.
#[inline]
fn first_double_name(value: &Value) -> Option<&str> {
    if matches!(value, Value::List(_) | Value::Struct(_)) { double_name_inside(value) } else { None }
}

fn double_name_inside(value: &Value) -> Option<&str> {
    match value {
        Value::List(items) => items.iter().find_map(first_double_name),
        Value::Struct(fields) => {
            let mut seen = hashbrown::HashSet::with_capacity(fields.len());
            let twice = fields.iter().map(|(name, _)| &**name).find(|name| !seen.insert(*name));
            twice.or_else(|| fields.iter().find_map(|(_, value)| first_double_name(value)))
        }
        _ => None,
    }
}
