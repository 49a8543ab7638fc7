//! The series of queries.

use bytestring::ByteString;

use super::context::{Context, named};
use super::durations::durations;
use super::partials::Partials;
use crate::decode::Decoded;
use crate::proto::pubsub::v1::{QueryMessagePubSub, QueryStatus};
use crate::row::contribution::{Contribution, Name, Namespace, Status, Tags};

/// What queries without a name are counted under, as Chalk's own export has it.
const UNNAMED: ByteString = ByteString::from_static("Unnamed");

/// Makes the series of a query.
pub(super) fn series(
    query: &QueryMessagePubSub,
    context: &Context<'_>,
    partials: &mut Partials,
    decoded: &mut Decoded<Contribution>,
) {
    let source = named(query.query_name.as_deref()).unwrap_or(UNNAMED);
    let tags = Tags { status: status(query), ..Tags::default() };
    let series = |name| context.series(Namespace::Query, name, &source, tags);
    partials.count(series(Name::Request), 1);
    let seconds = durations(query.query_duration_seconds.map(f64::from).into_iter(), decoded);
    partials.values(series(Name::Latency), seconds, 0);
}

/// How it ended; what older engines do not send, `has_errors` implies.
fn status(query: &QueryMessagePubSub) -> Option<Status> {
    let given = query.status.and_then(|status| QueryStatus::try_from(status).ok());
    match given.unwrap_or_default() {
        QueryStatus::Unspecified => {
            query.has_errors.map(|errors| if errors { Status::Failure } else { Status::Success })
        }
        QueryStatus::PendingSubmission | QueryStatus::Submitted | QueryStatus::Running => Some(Status::Working),
        QueryStatus::Error | QueryStatus::Expired | QueryStatus::Cancelled => Some(Status::Failure),
        QueryStatus::Successful | QueryStatus::SuccessfulWithNonfatalErrors => Some(Status::Success),
    }
}
