//! Partitions of which nothing comes, though the bus answers: those that nobody can be asked for, and those with a
//! transaction that nobody ends. Told once when it begins and once when it is over, and by health for as long as it lasts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::health::Health;
use crate::bus::PartitionStatus;

/// Another leader takes over sooner, and that is no news.
const AWAY_FOR: Duration = Duration::from_secs(5);

/// Who publishes in transactions ends them sooner: Java's producers are given a minute by default, and brokers give nobody
/// more than a quarter of an hour.
const OPEN_FOR: Duration = Duration::from_secs(300);

/// What stands still now, by the part that health calls it: its partition, since when, and why.
#[derive(Default)]
pub(super) struct Standing(BTreeMap<String, String>);

impl Standing {
    /// Looks at what the bus tells. While the bus itself is in trouble its partitions are no news.
    pub(super) fn look(&mut self, status: &[PartitionStatus], health: &Health, bus: &str) {
        let still = still(status);
        let over: Vec<String> = self.0.keys().filter(|part| !still.contains_key(*part)).cloned().collect();
        let (mut ended, mut begun) = (Vec::new(), BTreeMap::<String, Vec<String>>::new());
        for part in over {
            let seconds = health.stands_no_more(&part).map_or(0, |since| since.elapsed().as_secs());
            let place = self.0.remove(&part).unwrap_or_default();
            // One that another member has now is no longer ours to tell of.
            if status.iter().any(|known| name(known) == place) {
                ended.push(format!("{part}, after {seconds} s"));
            }
        }
        for (part, (place, since, why)) in still {
            if !self.0.contains_key(&part) && health.is_in_trouble(bus) {
                continue;
            }
            health.stands(&part, &why, since);
            if self.0.insert(part.clone(), place).is_none() {
                begun.entry(why).or_default().push(part);
            }
        }
        for (why, parts) in begun {
            tracing::warn!("{}: {why}; the others are read on", parts.join(", "));
        }
        if !ended.is_empty() {
            tracing::info!("read again: {}", ended.join("; "));
        }
    }
}

/// What stands still, by part.
fn still(status: &[PartitionStatus]) -> BTreeMap<String, (String, Instant, String)> {
    let mut still = BTreeMap::new();
    for known in status {
        let name = name(known);
        if let Some((since, why)) = known.held_up.away.as_ref().filter(|(since, _)| since.elapsed() >= AWAY_FOR) {
            still.insert(format!("partition {name}"), (name.clone(), *since, format!("cannot be read: {why}")));
        }
        if let Some((messages, since)) = known.held_up.open.filter(|(_, since)| since.elapsed() >= OPEN_FOR) {
            let why = format!(
                "one has been open for {} min or more, and {messages} messages behind its beginning may not be read before it is \
                 ended: `kafka-transactions.sh find-hanging` tells whose it is, and `abort` ends it",
                since.elapsed().as_secs() / 60
            );
            still.insert(format!("transactions of {name}"), (name, since, why));
        }
    }
    still
}

fn name(known: &PartitionStatus) -> String {
    format!("{}/{}", known.partition.topic, known.partition.number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::HeldUp;
    use crate::message::Partition;

    fn status(number: i32, held_up: HeldUp) -> PartitionStatus {
        let partition = Partition { topic: "t".into(), number };
        PartitionStatus { partition, position: None, end: None, lag: Duration::ZERO, held_up }
    }

    fn ago(seconds: u64) -> Instant {
        Instant::now().checked_sub(Duration::from_secs(seconds)).expect("the machine is up for longer")
    }

    fn away(seconds: u64) -> HeldUp {
        HeldUp { away: Some((ago(seconds), "broker 2 is not reached".to_owned())), open: None }
    }

    fn open(seconds: u64) -> HeldUp {
        HeldUp { away: None, open: Some((7, ago(seconds))) }
    }

    #[test]
    fn a_partition_that_is_away_is_told_soon_and_not_ready_after_a_minute() {
        let (health, mut standing) = (Health::default(), Standing::default());
        let parts = |health: &Health| health.state().troubles.into_keys().collect::<Vec<_>>();
        standing.look(&[status(0, HeldUp::default()), status(1, away(1))], &health, "bus");
        assert_eq!(parts(&health), [""; 0], "an election takes that long");
        standing.look(&[status(0, HeldUp::default()), status(1, away(30))], &health, "bus");
        assert_eq!((parts(&health), health.not_ready()), (vec!["partition t/1".to_owned()], vec![]));
        standing.look(&[status(0, HeldUp::default()), status(1, away(61))], &health, "bus");
        let not_ready = health.not_ready();
        assert_eq!(not_ready, [("partition t/1".to_owned(), "cannot be read: broker 2 is not reached".to_owned())]);
        let told = |health: &Health| health.state().last_errors.len();
        assert_eq!(told(&health), 1, "once");
        standing.look(&[status(0, HeldUp::default()), status(1, HeldUp::default())], &health, "bus");
        assert_eq!((health.not_ready(), told(&health)), (vec![], 1));
        // One that went with its trouble takes it along.
        standing.look(&[status(1, away(61))], &health, "bus");
        standing.look(&[], &health, "bus");
        assert_eq!(health.not_ready(), []);
    }

    #[test]
    fn a_transaction_is_told_once_it_is_open_for_longer_than_people_leave_them() {
        let (health, mut standing) = (Health::default(), Standing::default());
        standing.look(&[status(0, open(200))], &health, "bus");
        assert_eq!(health.not_ready(), []);
        standing.look(&[status(0, open(301))], &health, "bus");
        let (part, why) = health.not_ready().pop().expect("not ready");
        assert!(part == "transactions of t/0" && why.contains("7 messages") && why.contains("open for 5 min"), "{why}");
        standing.look(&[status(0, open(0))], &health, "bus");
        assert_eq!(health.not_ready(), []);
    }

    #[test]
    fn partitions_of_a_bus_that_is_in_trouble_are_no_news() {
        let (health, mut standing) = (Health::default(), Standing::default());
        health.failed("bus", "no broker answers", false);
        standing.look(&[status(0, away(90))], &health, "bus");
        assert_eq!(health.state().troubles.into_keys().collect::<Vec<_>>(), ["bus"]);
    }
}
