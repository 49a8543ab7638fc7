//! What `ONLINE_WRITER` does with each feature of an environment.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytestring::ByteString;
use hashbrown::{HashMap, HashSet};

use crate::config::settings::{CacheStrategy, Environment, Feature, MaxStaleness};
use crate::result::{Cell, ListId};
use crate::row::feature::{Expires, Features};
use crate::value::Value;
use crate::value::conform::is_of;
use crate::value::dtype::DataType;
use crate::writer::catalog::Prepared;
use crate::writer::column::{Named, named};
use crate::writer::layouts::Layouts;
use crate::writer::time::micros;
use crate::writer::{declared, entity, skip};

/// One environment, prepared.
#[derive(Debug)]
pub(super) struct OnlineEnvironment {
    /// Index of the pipeline's destination; `None` where it has no online store.
    pub(super) destination: Option<usize>,
    /// Listed features by fully qualified name; `None` where there is no list, and all are stored.
    listed: Option<HashMap<Box<str>, Column>>,
    /// For features where there is no list.
    default_expiry: Option<Expiry>,
    tombstone_retention: i64,
    layouts: Layouts<Layout>,
}

/// What is done with the columns of one table.
#[derive(Debug)]
pub(super) struct Layout {
    /// Aligned with the table's columns.
    pub(super) columns: Vec<Column>,
    /// The features that they are stored as, aligned as well; empty where a column is not stored.
    pub(super) features: Features,
    /// When their values expire, aligned too.
    pub(super) expiries: Vec<Expiry>,
    /// The columns that hold the row's own observed time.
    pub(super) times: Vec<usize>,
}

/// What is done with a column.
#[derive(Clone, Debug)]
pub(super) enum Column {
    /// Its values are stored.
    Store(Arc<Stored>),
    /// They are left out, for this reason.
    Skip(&'static str),
    /// It holds the row's observed time.
    Time,
    /// A row that has it is refused, for this reason.
    Refuse(Arc<str>),
}

/// How a feature is stored.
#[derive(Debug)]
pub(super) struct Stored {
    /// Its persistence key without namespace.
    pub(super) feature: Arc<str>,
    /// Its declared type.
    pub(super) dtype: Option<DataType>,
    /// When its values expire.
    pub(super) expiry: Expiry,
    /// When its tombstones do.
    pub(super) tombstone_expiry: Expiry,
    /// What nulls and defaults do.
    pub(super) strategy: CacheStrategy,
    /// Its default, where it is declared.
    pub(super) default: Option<Value>,
}

impl Layout {
    /// Whether all cells of a row are stored as they came.
    pub(super) fn takes(&self, cells: &[Cell]) -> bool {
        cells.iter().all(|cell| {
            entity::not_online(cell.source).is_none()
                && matches!(self.columns.get(cell.column), Some(Column::Store(stored)) if stored.takes(&cell.value))
        })
    }
}

impl Stored {
    /// Whether a value is stored as it came: no type is declared or it is of that, and nothing depends on what it is.
    #[inline]
    pub(super) fn takes(&self, value: &Value) -> bool {
        self.strategy == CacheStrategy::All && self.dtype.as_ref().is_none_or(|dtype| is_of(value, dtype))
    }
}

/// When a value stops being valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    /// It does not.
    Never,
    /// So many microseconds after its observed time.
    After(i64),
}

impl Expiry {
    /// Of a value of this observed time, microseconds since 1970.
    pub(super) fn of(self, observed_at: i64) -> Expires {
        match self {
            Self::Never => Expires::NEVER,
            Self::After(microseconds) => Expires::at(observed_at.saturating_add(microseconds)),
        }
    }

    fn no_shorter_than(self, microseconds: i64) -> Self {
        match self {
            Self::Never => Self::Never,
            Self::After(own) => Self::After(own.max(microseconds)),
        }
    }
}

impl Prepared for OnlineEnvironment {
    fn destination(&self) -> Option<usize> {
        self.destination
    }
}

impl OnlineEnvironment {
    /// Prepares an environment; the names of faulty defaults go to `faults`.
    pub(super) fn new(
        environment: &Environment,
        destination: Option<usize>,
        tombstone_retention: i64,
        faults: &mut Vec<String>,
    ) -> Self {
        let listed = environment.features.as_ref();
        let mut prepare = |features: &BTreeMap<String, Feature>| {
            let columns = features.values().map(|feature| {
                (feature.fqn.as_str().into(), listed_column(feature, environment, tombstone_retention, faults))
            });
            columns.collect()
        };
        Self {
            destination,
            listed: listed.map(&mut prepare),
            default_expiry: match environment.default_max_staleness.unwrap_or(MaxStaleness::Infinity) {
                MaxStaleness::Infinity => Some(Expiry::Never),
                MaxStaleness::For(staleness) if staleness.is_zero() => None,
                MaxStaleness::For(staleness) => Some(Expiry::After(micros(staleness))),
            },
            tombstone_retention,
            layouts: Layouts::default(),
        }
    }

    /// What is done with the columns of a table.
    pub(super) fn layout(&self, namespace: &str, columns: &[ByteString], list: Option<ListId>) -> Arc<Layout> {
        self.layouts.get(namespace, columns, list, || {
            let mut layout = Layout {
                columns: Vec::with_capacity(columns.len()),
                features: Arc::default(),
                expiries: Vec::new(),
                times: Vec::new(),
            };
            let mut seen = HashSet::with_capacity(columns.len());
            for (at, name) in columns.iter().enumerate() {
                let column = if seen.insert(name) {
                    self.column(namespace, name)
                } else {
                    Column::Refuse(format!("column `{name}` stands twice").into())
                };
                if matches!(column, Column::Time) {
                    layout.times.push(at);
                }
                layout.columns.push(column);
            }
            let stored = layout.columns.iter().map(|column| match column {
                Column::Store(stored) => Box::from(&*stored.feature),
                Column::Skip(_) | Column::Time | Column::Refuse(_) => Box::default(),
            });
            layout.features = stored.collect();
            let expiries = layout.columns.iter().map(|column| match column {
                Column::Store(stored) => stored.expiry,
                Column::Skip(_) | Column::Time | Column::Refuse(_) => Expiry::Never,
            });
            layout.expiries = expiries.collect();
            layout
        })
    }

    fn column(&self, namespace: &str, name: &str) -> Column {
        let feature = match named(namespace, name) {
            Err(reason) => return Column::Refuse(reason.into()),
            Ok(Named::Time) => return Column::Time,
            Ok(Named::Metadata) => return Column::Skip(skip::METADATA),
            Ok(Named::Feature(feature)) => feature,
        };
        if let Some(listed) = &self.listed {
            return listed.get(name).cloned().unwrap_or(Column::Skip(skip::UNLISTED));
        }
        let Some(expiry) = self.default_expiry else { return Column::Skip(skip::NOT_CACHED) };
        Column::Store(Arc::new(Stored {
            feature: feature.into(),
            dtype: None,
            expiry,
            tombstone_expiry: expiry.no_shorter_than(self.tombstone_retention),
            strategy: CacheStrategy::All,
            default: None,
        }))
    }
}

/// A listed feature. Without a staleness of its own or of the environment it is not cached, as in
/// Chalk; `store_online` without a staleness stores it without an expiry.
fn listed_column(
    feature: &Feature,
    environment: &Environment,
    tombstone_retention: i64,
    faults: &mut Vec<String>,
) -> Column {
    let staleness = feature.max_staleness.or(environment.default_max_staleness);
    let expiry = match staleness {
        Some(MaxStaleness::Infinity) => Some(Expiry::Never),
        Some(MaxStaleness::For(staleness)) if !staleness.is_zero() => Some(Expiry::After(micros(staleness))),
        _ => None,
    };
    let expiry = match (feature.store_online, expiry) {
        (Some(false), _) => return Column::Skip(skip::STORE_ONLINE_OFF),
        (None, None) => return Column::Skip(skip::NOT_CACHED),
        (Some(true), None) => Expiry::Never,
        (_, Some(expiry)) => expiry,
    };
    let name = feature.fqn.split_once('.').map_or(feature.fqn.as_str(), |(_, name)| name);
    let default = declared::default_value(feature).unwrap_or_else(|fault| {
        faults.push(fault);
        None
    });
    Column::Store(Arc::new(Stored {
        feature: entity::persistence_key(name, feature.internal_version).into(),
        dtype: feature.dtype.clone(),
        expiry,
        tombstone_expiry: expiry.no_shorter_than(tombstone_retention),
        strategy: feature.cache_strategy,
        default,
    }))
}
