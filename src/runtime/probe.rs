//! Whether each store can be reached, found out at the start: a writer that has nothing to write would
//! otherwise be ready with a store that nobody has ever reached.

use std::sync::Arc;

use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::health::Report;
use super::parking::ASKED_EVERY;
use super::pause::Pauses;
use super::shared::Shared;
use crate::sink::{Row, SinkError};

/// Asks every destination until it answers, beside everything else; ends when it is dropped.
pub(super) fn start<R: Row>(shared: &Arc<Shared<R>>) -> Vec<AbortOnDropHandle<()>> {
    let each = 0..shared.destinations.len();
    each.map(|index| AbortOnDropHandle::new(tokio::spawn(until_reached(Arc::clone(shared), index)))).collect()
}

async fn until_reached<R: Row>(shared: Arc<Shared<R>>, index: usize) {
    let destination = &shared.destinations[index];
    let report = Report::new(&shared.health, &destination.name);
    let mut pauses = Pauses::new(shared.policy.retry);
    loop {
        match destination.sink.probe().await {
            Ok(()) => {
                report.works();
                break;
            }
            Err(error) => {
                report.failed(&error.to_string(), matches!(error, SinkError::Denied { .. }));
                sleep(pauses.next(None)).await;
            }
        }
    }
    if shared.parking.is_some() {
        while_away(&shared, index).await;
    }
}

/// Where messages are parked, nobody may be writing to a destination that is away: it is asked whether it answers.
///
/// One that answers may still take no writes, so its trouble is over only with a write, or where nobody has tried one for longer than
/// attempts ever pause.
async fn while_away<R: Row>(shared: &Shared<R>, index: usize) {
    let destination = &shared.destinations[index];
    let nobody_tries = 2 * shared.policy.retry.longest;
    loop {
        sleep(ASKED_EVERY).await;
        let troubled = shared.away.is_away(index) || shared.health.is_in_trouble(&destination.name);
        if troubled && destination.sink.probe().await.is_ok() {
            shared.away.answers(index);
            shared.health.answers(&destination.name, nobody_tries);
        }
    }
}
