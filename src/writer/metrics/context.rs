//! What holds for every series of a result: for whom it was computed, and what is known of its resolvers.

use bytestring::ByteString;
use hashbrown::{HashMap, HashSet};

use crate::proto::common::v1::OperationKind;
use crate::proto::writer::v1::{ResolverKind, ResolverRun};
use crate::result::QueryResult;
use crate::row::contribution::{ComputedFor, Kind, Name, Namespace, Series, Tags};

/// The parts of a result that are looked into for each of its features.
pub(super) struct Context<'a> {
    /// Tag 4.
    pub(super) computed_for: Option<ComputedFor>,
    resource_group: Option<ByteString>,
    /// Features that an error names.
    pub(super) failed: HashSet<&'a str>,
    /// What the query was asked for; `None` where nobody knows.
    pub(super) outputs: Option<HashSet<&'a str>>,
    /// The resolvers that ran, by name, in the order in which they ran.
    pub(super) runs: HashMap<&'a str, Vec<&'a ResolverRun>>,
}

impl<'a> Context<'a> {
    pub(super) fn new(result: &'a QueryResult) -> Self {
        let query = result.query.as_deref();
        let mut runs: HashMap<&str, Vec<&ResolverRun>> = HashMap::new();
        for run in &result.resolver_runs {
            runs.entry(&run.resolver).or_default().push(run);
        }
        Self {
            computed_for: computed_for(result.operation_kind),
            resource_group: query.and_then(|query| named(query.resource_group.as_deref())),
            failed: result.errors.iter().filter_map(|error| error.feature.as_deref()).collect(),
            outputs: query.map(|query| query.output_features.iter().map(String::as_str).collect()),
            runs,
        }
    }

    /// Bytes of the names that every series of this result has.
    pub(super) fn shared_names(&self) -> usize {
        self.resource_group.as_ref().map_or(0, |group| group.len())
    }

    /// A series of this result; the tag for the context is set here.
    pub(super) fn series(&self, namespace: Namespace, name: Name, source: &ByteString, tags: Tags) -> Series {
        let tags = Tags { context: self.computed_for, ..tags };
        Series { namespace, name, source: source.clone(), resource_group: self.resource_group.clone(), tags }
    }
}

/// A text that says something.
pub(super) fn named(text: Option<&str>) -> Option<ByteString> {
    text.filter(|text| !text.is_empty()).map(ByteString::from)
}

/// Tag 3 of a resolver's kind.
pub(super) fn kind(number: i32) -> Option<Kind> {
    match ResolverKind::try_from(number).ok()? {
        ResolverKind::Unspecified => None,
        ResolverKind::Offline => Some(Kind::Offline),
        ResolverKind::Online => Some(Kind::Online),
        ResolverKind::Stream => Some(Kind::Stream),
    }
}

/// Tag 4 of an operation's kind; the newest kinds have no number there.
fn computed_for(number: i32) -> Option<ComputedFor> {
    match OperationKind::try_from(number).ok()? {
        OperationKind::OnlineQuery => Some(ComputedFor::Inference),
        OperationKind::Migration => Some(ComputedFor::Migration),
        OperationKind::Cron => Some(ComputedFor::Cron),
        OperationKind::Streaming => Some(ComputedFor::Streaming),
        OperationKind::MigrationSampler => Some(ComputedFor::MigrationSampler),
        OperationKind::WindowedStreaming => Some(ComputedFor::WindowedStreaming),
        OperationKind::OfflineQuery => Some(ComputedFor::OfflineQuery),
        OperationKind::Dataset => Some(ComputedFor::Dataset),
        OperationKind::ScheduledQuery => Some(ComputedFor::ScheduledQuery),
        OperationKind::AggregateBackfill => Some(ComputedFor::AggregateBackfill),
        OperationKind::ScheduledAggregateBackfill => Some(ComputedFor::ScheduledAggregateBackfill),
        OperationKind::ScriptTask => Some(ComputedFor::ScriptTask),
        OperationKind::Unspecified
        | OperationKind::Chalksql
        | OperationKind::Chalkdf
        | OperationKind::UploadFeatures => None,
    }
}
