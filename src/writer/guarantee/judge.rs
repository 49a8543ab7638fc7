//! What may come of each fault: who judges which.

use super::Guarantee;
use super::circumstances::Circumstances;
use super::fault::Fault;
use super::judged::Judged;
use super::may::May;
use super::of_bad_messages::of_bad_messages;
use super::of_pub_sub::of_pub_sub;
use super::of_stores::of_stores;
use super::of_the_bus::of_the_bus;
use super::of_the_process::of_the_process;
use super::of_times::of_times;

/// What may come of a fault.
pub(super) fn judge(fault: Fault, around: &Circumstances<'_>) -> Guarantee {
    let judged = of_pub_sub(fault, around).unwrap_or_else(|| on_a_log(fault, around));
    let Judged { because, there, changes } = judged;
    let may = there.iter().fold(May::NOTHING, |may, one| may.or(one.may));
    Guarantee { fault, title: fault.title(), may, because, destinations: there, changes }
}

/// What may come of it on a bus whose topics are logs, and of what has nothing to do with the bus.
fn on_a_log(fault: Fault, around: &Circumstances<'_>) -> Judged {
    match fault {
        Fault::WriterKilled
        | Fault::WriterPaused
        | Fault::Rebalance
        | Fault::DrainOverLimit
        | Fault::TwoWritersOfOneGroup => of_the_process(fault, around),
        Fault::PositionLost
        | Fault::BusAway
        | Fault::BusRestarted
        | Fault::MessagesExpired
        | Fault::Redelivered
        | Fault::SentTwice
        | Fault::ReadAgain => of_the_bus(fault, around),
        Fault::OutOfOrder | Fault::EqualTimes | Fault::FarFuture | Fault::OlderThanTombstone | Fault::ClockWrong => {
            of_times(fault, around)
        }
        Fault::BadRow
        | Fault::RefusedMessage
        | Fault::TooManyBad
        | Fault::DeadLetterTopicAway
        | Fault::DeadLettersReplayed
        | Fault::DeadLettersLeft
        | Fault::MessageSkipped => of_bad_messages(fault, around),
        Fault::StoreAway
        | Fault::OneStoreAway
        | Fault::StoreSlow
        | Fault::StoreUnsure
        | Fault::StoreRestarted
        | Fault::StoreFailover
        | Fault::StoreFull
        | Fault::CredentialsChanged => of_stores(fault, around),
    }
}
