//! A subscription: what it is set to, of which topic it is, and whether what its writer sends comes back by it.

use super::report::Report;
use crate::bus::inspect::{Inspect, SetUp};
use crate::bus::{Bus, BusError};
use crate::store::examine::Finding;
use crate::writer::apart::FIX;
use crate::writer::plan::Reads;

/// It has no positions and no members that anyone could ask for; it has settings.
pub(super) async fn set_up(name: &str, inspect: &dyn Inspect, report: &mut Report) {
    let of = format!("subscription {name}");
    match inspect.set_up(name).await {
        Ok(found) => {
            for SetUp { name, found, fix } in found {
                report.add(
                    &of,
                    match fix {
                        None => Finding::ok(name, found),
                        Some(fix) => Finding::warn(name, found, fix),
                    },
                );
            }
        }
        Err(error) => report.add(&of, Finding::warn("set up", error.to_string(), "allow pubsub.subscriptions.get")),
    }
}

/// Of which topic the one is that the writer reads, which a start refuses where it is one that the writer sends to.
pub(super) async fn comes_back(reads: &Reads, bus: &dyn Bus, of: &str, report: &mut Report) {
    let topic = match bus.topic_of(&reads.subscription).await {
        Ok(topic) => topic,
        Err(error) => {
            let fix = "ask again: a start has to know it";
            return report.add(of, Finding::warn("topic", format!("not known: {error}"), fix));
        }
    };
    let wrong: Vec<String> = reads.coming_back(&topic).collect();
    if wrong.is_empty() {
        report.add(of, Finding::ok("topic", format!("`{topic}`, to which the writer sends nothing")));
    }
    let is_filtered = match bus.subscriptions() {
        Some(subscriptions) => subscriptions.is_filtered(&reads.subscription).await.unwrap_or_default(),
        None => false,
    };
    for wrong in wrong {
        let finding = if is_filtered {
            Finding::warn("topic", format!("{wrong}, unless the subscription's filter leaves it out"), FIX)
        } else {
            Finding::fail("topic", wrong, FIX)
        };
        report.add(of, finding);
    }
}

/// The one by which the writer reads back what it has parked.
pub(super) async fn of_parked(name: &str, topic: &str, bus: &dyn Bus, inspect: &dyn Inspect, report: &mut Report) {
    let of = format!("subscription {name}");
    let finding = match bus.reads(name, topic).await {
        Ok(true) => return set_up(name, inspect, report).await,
        Ok(false) => Finding::fail(
            "there",
            format!("it is not there or does not read `{topic}`, so what is parked would never come back"),
            format!(
                "`chalk-writer publish --config FILE --topic {topic} --subscription {name} --generate 0` makes it; a \
                 start refuses to go without"
            ),
        ),
        Err(error @ BusError::Denied(_)) => {
            Finding::fail("there", error.to_string(), "allow pubsub.subscriptions.get (`roles/pubsub.viewer`)")
        }
        Err(error) => Finding::fail("there", error.to_string(), "put it right before the start, which needs it"),
    };
    report.add(&of, finding);
}
