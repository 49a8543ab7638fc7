//! What one result adds to the series of metrics, and what of it travels on as it is.

use std::convert::Infallible;
use std::sync::Arc;

use bytestring::ByteString;
use prost::Message as _;

pub use crate::proto::metrics::v1::{
    Metrics1ProtoAggregationType as Aggregation, Metrics1ProtoRepresentationName as Name,
    Metrics1ProtoRepresentationNamespace as Namespace, Metrics1ProtoRepresentationTag1 as Status,
    Metrics1ProtoRepresentationTag2 as Cache, Metrics1ProtoRepresentationTag3 as Kind,
    Metrics1ProtoRepresentationTag4 as ComputedFor, Metrics1ProtoRepresentationTag5 as Nullness,
    Metrics1ProtoRepresentationTag6 as Form,
};
use crate::proto::pubsub::v1::QueryMessagePubSub;
use crate::proto::writer::v1::ErrorRow;
use crate::sink::Row;

/// One result, counted. It is added to its series as a whole or not at all.
#[derive(Clone, Debug)]
pub struct Contribution {
    /// Index of the pipeline's destination.
    pub destination: usize,
    /// The environment's id.
    pub environment: Arc<str>,
    /// The deployment's id; may be empty.
    pub deployment: ByteString,
    /// The query's id.
    pub operation: ByteString,
    /// What names the result's event among those of all publishers.
    pub event: Box<str>,
    /// When it happened, microseconds since 1970: its minute is the window of all of it.
    pub event_time: i64,
    /// What it adds, each series once.
    pub partials: Vec<(Series, Measure)>,
    /// What is passed on of it.
    pub forward: Vec<Forward>,
}

/// What is counted together, beside environment, deployment and window.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Series {
    /// What it is about.
    pub namespace: Namespace,
    /// What is measured.
    pub name: Name,
    /// The feature, resolver or query.
    pub source: ByteString,
    /// Where the query ran, if the query says it.
    pub resource_group: Option<ByteString>,
    /// What else tells one from another.
    pub tags: Tags,
}

/// The tags of a series; one that is not known is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tags {
    /// `tag1`: how it ended.
    pub status: Option<Status>,
    /// `tag2`: whether the cache had it.
    pub cache: Option<Cache>,
    /// `tag3`: what kind of resolver.
    pub kind: Option<Kind>,
    /// `tag4`: what it was computed for.
    pub context: Option<ComputedFor>,
    /// `tag5`: whether the value was null.
    pub null: Option<Nullness>,
    /// `tag6`: one value, or many.
    pub form: Option<Form>,
}

/// What a result adds to one series.
#[derive(Clone, Debug, PartialEq)]
pub enum Measure {
    /// A whole number; exact however many are added.
    Sum(i128),
    /// Values of a distribution.
    Values {
        /// Finite numbers.
        values: Vec<f64>,
        /// How many values are known to be absent.
        nulls: u64,
    },
}

/// What of a result is passed on as a message of its own.
#[derive(Clone, Debug, PartialEq)]
pub enum Forward {
    /// The query's row.
    Query(Box<QueryMessagePubSub>),
    /// Errors of the query as a whole.
    QueryErrors(Vec<ErrorRow>),
    /// Errors that name a resolver.
    ResolverErrors(Vec<ErrorRow>),
}

impl Measure {
    /// How its series is aggregated.
    pub const fn aggregation(&self) -> Aggregation {
        match self {
            Self::Sum(_) => Aggregation::Sum,
            Self::Values { .. } => Aggregation::Sketch,
        }
    }
}

impl Forward {
    fn rows(&self) -> usize {
        match self {
            Self::Query(_) => 1,
            Self::QueryErrors(errors) | Self::ResolverErrors(errors) => errors.len(),
        }
    }

    fn size(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Query(query) => size_of::<QueryMessagePubSub>() + query.encoded_len(),
                Self::QueryErrors(errors) | Self::ResolverErrors(errors) => {
                    errors.iter().map(|error| size_of::<ErrorRow>() + error.encoded_len()).sum()
                }
            }
    }
}

impl Row for Contribution {
    type Key = Infallible;

    fn key(&self) -> Option<&Infallible> {
        None
    }

    fn destination(&self) -> usize {
        self.destination
    }

    fn rows(&self) -> usize {
        self.partials.len() + self.forward.iter().map(Forward::rows).sum::<usize>()
    }

    fn size(&self) -> usize {
        let partials = self.partials.iter().map(|(_, measure)| {
            let values = match measure {
                Measure::Sum(_) => 0,
                Measure::Values { values, .. } => values.capacity() * size_of::<f64>(),
            };
            size_of::<(Series, Measure)>() + values
        });
        size_of::<Self>()
            + self.event.len()
            + partials.sum::<usize>()
            + self.forward.iter().map(Forward::size).sum::<usize>()
    }
}
