//! What `ONLINE_VECTOR_STORE_WRITER` does with each feature of an environment.

use std::sync::Arc;

use bytestring::ByteString;
use hashbrown::{HashMap, HashSet};

use crate::config::settings::{CacheStrategy, Environment, Feature};
use crate::result::ListId;
use crate::row::vector::VectorFeature;
use crate::value::dtype::DataType;
use crate::value::{Metric, Value};
use crate::writer::catalog::Prepared;
use crate::writer::column::{Named, named};
use crate::writer::layouts::Layouts;
use crate::writer::{declared, entity, skip};

/// One environment, prepared.
#[derive(Debug)]
pub(super) struct VectorEnvironment {
    /// Index of the pipeline's destination; `None` where it has no vector store.
    destination: Option<usize>,
    /// Listed features by fully qualified name; `None` where there is no list, and every vector is stored.
    listed: Option<HashMap<Box<str>, Column>>,
    /// The metric of features that have none of their own.
    metric: Option<Metric>,
    layouts: Layouts<Vec<Column>>,
}

/// What is done with a column.
#[derive(Clone, Debug)]
pub(super) enum Column {
    /// Its vectors are stored.
    Store(Arc<Stored>),
    /// They are left out, for this reason.
    Skip(&'static str),
    /// It holds the row's observed time.
    Time,
    /// A row that has it is refused, for this reason.
    Refuse(Arc<str>),
}

/// How the vectors of a feature are stored.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) feature: Arc<VectorFeature>,
    /// Its fully qualified name, for messages.
    pub(super) name: Box<str>,
    /// Its declared type, which is a vector's.
    pub(super) dtype: Option<DataType>,
    /// The metric that the configuration names for it.
    pub(super) metric: Option<Metric>,
    /// What nulls and defaults do.
    pub(super) strategy: CacheStrategy,
    /// Its default, where it is declared.
    pub(super) default: Option<Value>,
}

impl Prepared for VectorEnvironment {
    fn destination(&self) -> Option<usize> {
        self.destination
    }
}

impl VectorEnvironment {
    /// Prepares an environment; the names of faulty defaults go to `faults`.
    pub(super) fn new(environment: &Environment, destination: Option<usize>, faults: &mut Vec<String>) -> Self {
        let metric = environment.vector_metric;
        let listed = environment.features.as_ref().map(|features| {
            let columns = features.values();
            columns.map(|feature| (feature.fqn.as_str().into(), listed_column(feature, metric, faults))).collect()
        });
        Self { destination, listed, metric, layouts: Layouts::default() }
    }

    /// What is done with the columns of a table.
    pub(super) fn layout(&self, namespace: &str, columns: &[ByteString], list: Option<ListId>) -> Arc<Vec<Column>> {
        self.layouts.get(namespace, columns, list, || {
            let mut seen = HashSet::with_capacity(columns.len());
            let column = |name: &ByteString| {
                if seen.insert(name.clone()) {
                    self.column(namespace, name)
                } else {
                    Column::Refuse(format!("column `{name}` stands twice").into())
                }
            };
            columns.iter().map(column).collect()
        })
    }

    /// What is done with a column, or a feature, of a namespace.
    pub(super) fn column(&self, namespace: &str, name: &str) -> Column {
        let feature = match named(namespace, name) {
            Err(reason) => return Column::Refuse(reason.into()),
            Ok(Named::Time) => return Column::Time,
            Ok(Named::Metadata) => return Column::Skip(skip::METADATA),
            Ok(Named::Feature(feature)) => feature,
        };
        if let Some(listed) = &self.listed {
            return listed.get(name).cloned().unwrap_or(Column::Skip(skip::UNLISTED));
        }
        Column::Store(Arc::new(Stored {
            feature: Arc::new(VectorFeature { namespace: namespace.into(), name: feature.into() }),
            name: name.into(),
            dtype: None,
            metric: self.metric,
            strategy: CacheStrategy::All,
            default: None,
        }))
    }
}

fn listed_column(feature: &Feature, metric: Option<Metric>, faults: &mut Vec<String>) -> Column {
    if feature.dtype.as_ref().is_some_and(|dtype| !matches!(dtype, DataType::Vector(..))) {
        return Column::Skip(skip::NOT_A_VECTOR);
    }
    let (namespace, name) = feature.fqn.split_once('.').unwrap_or(("", &feature.fqn));
    let default = declared::default_value(feature).unwrap_or_else(|fault| {
        faults.push(fault);
        None
    });
    let name = entity::persistence_key(name, feature.internal_version).into();
    Column::Store(Arc::new(Stored {
        feature: Arc::new(VectorFeature { namespace: namespace.into(), name }),
        name: feature.fqn.as_str().into(),
        dtype: feature.dtype.clone(),
        metric: feature.metric.or(metric),
        strategy: feature.cache_strategy,
        default,
    }))
}
