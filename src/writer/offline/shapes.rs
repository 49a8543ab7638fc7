//! Tables of the `namespace` layout: system columns, then one column per feature.

use std::sync::Arc;

use bytestring::ByteString;
use hashbrown::{HashMap, HashSet};

use crate::config::settings::{Environment, Feature, SYSTEM_COLUMNS};
use crate::result::ListId;
use crate::row::table::{Column, Of, Repeats, Shape, When};
use crate::value::dtype::DataType;
use crate::writer::catalog::Prepared;
use crate::writer::column::{Named, named};
use crate::writer::layouts::Layouts;
use crate::writer::skip;

/// The system columns before the features', in order; `__inserted_at__` is the store's to add.
pub(super) const SYSTEM: &[&str] = SYSTEM_COLUMNS.split_at(7).0;
/// Index of `__observation_id__`.
pub(super) const OBSERVATION_ID: usize = 0;
/// Index of `__environment__`.
pub(super) const ENVIRONMENT: usize = 1;
/// Index of `__id__`.
pub(super) const ID: usize = 5;
/// Index of `__ts__`.
pub(super) const TS: usize = 6;

/// The table of queries, whose name no namespace can have.
pub(super) const QUERY_LOG: &str = "query_log";

/// One environment, prepared.
#[derive(Debug)]
pub(super) struct OfflineEnvironment {
    /// Index of the pipeline's destination; `None` where it has no offline store.
    pub(super) destination: Option<usize>,
    listed: HashMap<Box<str>, Listed>,
    layouts: Layouts<Layout>,
}

/// What is declared of a feature, as far as history needs it.
#[derive(Debug)]
struct Listed {
    store_offline: bool,
    internal_version: u32,
    dtype: Option<DataType>,
}

/// What is done with the columns of one table.
#[derive(Debug)]
pub(super) struct Layout {
    /// Shared by every row of tables alike.
    pub(super) shape: Arc<Shape>,
    /// Aligned with the columns of the message's table.
    pub(super) columns: Vec<Target>,
    /// The columns that hold the row's own observed time.
    pub(super) times: Vec<usize>,
    /// The declared type of the primary key.
    pub(super) id_type: Option<DataType>,
}

/// Where the values of a message's column go.
#[derive(Debug)]
pub(super) enum Target {
    /// Into the shape's column of this index.
    Write(usize),
    /// Nowhere, for this reason.
    Skip(&'static str),
    /// They are the row's observed time.
    Time,
    /// A row that has it is refused, for this reason.
    Refuse(String),
}

impl Prepared for OfflineEnvironment {
    fn destination(&self) -> Option<usize> {
        self.destination
    }
}

impl OfflineEnvironment {
    /// Prepares an environment.
    pub(super) fn new(environment: &Environment, destination: Option<usize>) -> Self {
        let listed = environment.features.iter().flatten();
        let listed = listed.map(|(_, feature)| (feature.fqn.as_str().into(), Listed::from(feature))).collect();
        Self { destination, listed, layouts: Layouts::default() }
    }

    /// What is done with the columns of a table.
    pub(super) fn layout(&self, namespace: &str, columns: &[ByteString], list: Option<ListId>) -> Arc<Layout> {
        self.layouts.get(namespace, columns, list, || self.make(namespace, columns))
    }

    fn make(&self, namespace: &str, names: &[ByteString]) -> Layout {
        let id_type = self.listed.get(format!("{namespace}.id").as_str()).and_then(|listed| listed.dtype.clone());
        let id_type = id_type.filter(|dtype| matches!(dtype, DataType::Int64 | DataType::String));
        let mut columns: Vec<Column> = SYSTEM
            .iter()
            .enumerate()
            .map(|(at, name)| Column {
                name: ByteString::from_static(name),
                data_type: match at {
                    ID => id_type.clone(),
                    TS => Some(DataType::Timestamp),
                    _ => Some(DataType::String),
                },
            })
            .collect();
        let mut taken: HashSet<String> = SYSTEM.iter().map(|name| (*name).to_owned()).collect();
        taken.insert("__inserted_at__".to_owned());
        let mut targets = Vec::with_capacity(names.len());
        let mut times = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let target = match named(namespace, name) {
                Err(reason) => Target::Refuse(reason),
                Ok(Named::Metadata) => Target::Skip(skip::METADATA),
                Ok(Named::Time) => {
                    times.push(at);
                    Target::Time
                }
                Ok(Named::Feature(feature)) => self.target(name, feature, &mut columns, &mut taken),
            };
            targets.push(target);
        }
        let table = ByteString::from(namespace);
        let shape = Arc::new(Shape {
            schema: None,
            table,
            columns,
            time: When::Column(TS),
            name: ID,
            key: vec![OBSERVATION_ID],
            repeats: Repeats::First,
            create: true,
            of: Of::History,
        });
        Layout { shape, columns: targets, times, id_type }
    }

    fn target(&self, fqn: &str, feature: &str, columns: &mut Vec<Column>, taken: &mut HashSet<String>) -> Target {
        let listed = self.listed.get(fqn);
        if listed.is_some_and(|listed| !listed.store_offline) {
            return Target::Skip(skip::STORE_OFFLINE_OFF);
        }
        let column = column_name(feature, listed.map_or(0, |listed| listed.internal_version));
        if !taken.insert(column.clone()) {
            let why = if column.starts_with("__") { "a system column" } else { "another column of this table" };
            return Target::Refuse(format!("feature `{fqn}` would be column `{column}`, which is {why}"));
        }
        columns.push(Column { name: column.into(), data_type: listed.and_then(|listed| listed.dtype.clone()) });
        Target::Write(columns.len() - 1)
    }
}

impl From<&Feature> for Listed {
    fn from(feature: &Feature) -> Self {
        Self {
            store_offline: feature.store_offline,
            internal_version: feature.internal_version,
            dtype: feature.dtype.clone(),
        }
    }
}

/// `score`, `score__v2` for `score@2`, and `__iN` after it for an internal version above 0.
fn column_name(feature: &str, internal_version: u32) -> String {
    let version = feature
        .rsplit_once('@')
        .filter(|(_, number)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    let name = version.map_or_else(|| feature.to_owned(), |(name, number)| format!("{name}__v{number}"));
    if internal_version == 0 { name } else { format!("{name}__i{internal_version}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_named_after_its_feature_and_its_versions() {
        assert_eq!(column_name("score", 0), "score");
        assert_eq!(column_name("score@2", 0), "score__v2");
        assert_eq!(column_name("score@2", 3), "score__v2__i3");
        assert_eq!(column_name("count__86400__", 1), "count__86400____i1");
        assert_eq!(column_name("odd@name", 0), "odd@name");
    }
}
