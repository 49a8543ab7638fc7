//! Observed times, and clocks.

use super::circumstances::{Circumstances, stronger, weaker};
use super::fault::Fault;
use super::judged::{DELAYED, Judged, LOST, anywhere, buried, buried_may};
use super::may::{Effect, May};
use crate::config::units::show_duration;
use crate::writer::Stands;
use crate::writer::doubles::Repetition;

/// What Kafka's client makes of it: see [`Bus::waits_by_the_time_of_day`](crate::bus::Bus::waits_by_the_time_of_day).
const SET_BACK: &str = "; set back by ten seconds or more, it ends the process, since the client of the bus would stand still for as long, and what was \
                        not acknowledged is delivered again to the next one";

pub(super) fn of_times(fault: Fault, around: &Circumstances<'_>) -> Judged {
    let tuning = around.tuning;
    let tombstones = show_duration(tuning.tombstone_retention);
    let skew = show_duration(tuning.max_future_skew);
    // What comes of the process's end on a bus whose client waits by the time of day.
    let restarts = around.is_kafka();
    let ends = if restarts { SET_BACK } else { "" };
    let there = |may: May| {
        if restarts { around.repeated(may.or(DELAYED), Repetition::Delivery) } else { anywhere(around, may) }
    };
    match (fault, around.facts.stands) {
        (Fault::OutOfOrder, Stands::Newest) => Judged {
            because:
                "the newest observed time stands, compared in the store and atomically; what is older changes nothing"
                    .to_owned(),
            there: anywhere(around, May::NOTHING),
            changes: around
                .expires
                .then(|| {
                    weaker(
                        "max_staleness",
                        None,
                        "shortened later: a value that expired is gone with its time, and a \
                     still older one that was to last longer is stored",
                    )
                })
                .into_iter()
                .collect(),
        },
        (Fault::EqualTimes, Stands::Newest) => Judged {
            because: "the larger value stands, in the store's own encoding, whichever came first".to_owned(),
            there: anywhere(around, May::NOTHING),
            changes: Vec::new(),
        },
        (Fault::OutOfOrder | Fault::EqualTimes, stands) => Judged {
            because: match stands {
                Stands::First => "the first row of a key stands, and times decide nothing",
                Stands::Newest | Stands::Both => {
                    "every row is kept; of rows with one key the one with the later time stands"
                }
            }
            .to_owned(),
            there: anywhere(around, May::NOTHING),
            changes: Vec::new(),
        },
        (Fault::FarFuture, _) if around.facts.judges_times => Judged {
            because: format!(
                "beyond {skew} ahead of this machine's clock it is a verdict, TIME_IN_FUTURE: the message is buried, \
                 because such a value would stand for ever"
            ),
            there: buried(around),
            changes: vec![weaker("max_future_skew", Some(skew), "longer: a wrong time stands until it is reached")],
        },
        (Fault::FarFuture, _) => Judged {
            because: "no time of a message decides anything here".to_owned(),
            there: anywhere(around, May::NOTHING),
            changes: Vec::new(),
        },
        (Fault::OlderThanTombstone, _) if around.evicts => Judged {
            because: format!(
                "what is evicted leaves its time behind for {tombstones}; an older value that comes later than that is \
                 stored"
            ),
            there: around.there(|kept| (May::NOTHING.with(Effect::OlderOnTop, kept.has_tombstones), String::new())),
            changes: vec![stronger("tombstone_retention", Some(tombstones), "longer than the topic keeps messages")],
        },
        (Fault::OlderThanTombstone, _) => Judged {
            because: "nothing is evicted".to_owned(),
            there: anywhere(around, May::NOTHING),
            changes: Vec::new(),
        },
        (Fault::ClockWrong, _) if around.expires => Judged {
            because: format!(
                "ahead, it takes values for expired, which are not stored and are counted \
                 (`chalk_writer_values_skipped_total`); behind by more than `max_future_skew`, it buries{ends}"
            ),
            there: there(LOST.or(buried_may(around))),
            changes: vec![stronger("max_staleness", None, "`infinity`: nothing expires")],
        },
        (Fault::ClockWrong, _) if around.facts.judges_times => Judged {
            because: format!(
                "behind by more than {skew} (`max_future_skew`) it takes every time for one of the future and buries, \
                 until the budget stops it{ends}"
            ),
            there: there(DELAYED),
            changes: Vec::new(),
        },
        _ => Judged {
            because: format!("no time is judged by it{ends}"),
            there: there(May::NOTHING),
            changes: Vec::new(),
        },
    }
}
