//! The series of resolvers, and of what runs on a schedule or over a stream.

use bytestring::ByteString;

use super::context::{Context, kind};
use super::durations::durations;
use super::partials::Partials;
use crate::decode::Decoded;
use crate::proto::common::v1::OperationKind;
use crate::proto::writer::v1::{ResolverKind, ResolverRun, ResolverStatus};
use crate::row::contribution::{Contribution, Name, Namespace, Status, Tags};

/// Makes series of the resolvers that ran.
pub(super) fn series(
    runs: &[ResolverRun],
    operation_kind: i32,
    context: &Context<'_>,
    partials: &mut Partials,
    decoded: &mut Decoded<Contribution>,
) {
    let scheduled = [OperationKind::Cron, OperationKind::ScheduledQuery].map(i32::from).contains(&operation_kind);
    for run in runs {
        let source = ByteString::from(run.resolver.as_str());
        let tags = Tags { status: status(run.status), kind: kind(run.kind), ..Tags::default() };
        let seconds = durations(std::iter::once(run.duration_seconds), decoded);
        let of_stream = run.kind == i32::from(ResolverKind::Stream);
        let namespaces = [(true, Namespace::Resolver), (scheduled, Namespace::Batch), (of_stream, Namespace::Stream)];
        for (_, namespace) in namespaces.into_iter().filter(|(is_of, _)| *is_of) {
            let series = |name| context.series(namespace, name, &source, tags);
            partials.count(series(Name::Request), 1);
            partials.values(series(Name::Latency), seconds.clone(), 0);
        }
        let returned = context.series(Namespace::Resolver, Name::ResolverRowsReturned, &source, tags);
        partials.count(returned, run.rows.into());
    }
}

fn status(number: i32) -> Option<Status> {
    match ResolverStatus::try_from(number).ok()? {
        ResolverStatus::Unspecified => None,
        ResolverStatus::Success => Some(Status::Success),
        ResolverStatus::Failure => Some(Status::Failure),
        ResolverStatus::Skipped => Some(Status::Skipped),
    }
}
