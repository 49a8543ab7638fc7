//! A consumer group: where it stands, and who is in it.

use std::time::Duration;

use super::report::Report;
use crate::bus::inspect::{Inspect, Member, Members};
use crate::bus::{Bus, BusError};
use crate::cli::output::count;
use crate::store::examine::Finding;

/// How often a question about a group is asked that the bus cannot answer yet, and how far apart.
const ATTEMPTS: usize = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// A group, what it reads, and in how many partitions.
pub(super) struct Group<'a> {
    pub(super) name: &'a str,
    pub(super) topic: &'a str,
    pub(super) partitions: u32,
}

impl Group<'_> {
    /// Examines it.
    pub(super) async fn examine(&self, inspect: &dyn Inspect, bus: &dyn Bus, of: &str, report: &mut Report) {
        match patiently(async || bus.positions(self.topic, self.name).await).await {
            Ok(positions) => {
                let known = positions.iter().filter(|position| position.committed.is_some()).count();
                let left: u64 = positions.iter().map(|at| at.end.saturating_sub(at.next()).max(0).unsigned_abs()).sum();
                let expired: u64 =
                    positions.iter().filter_map(|at| Some((at.earliest - at.committed?).max(0).unsigned_abs())).sum();
                let found = match known {
                    0 => format!("none yet: it starts at the earliest, {}", count(left, "message")),
                    _ => format!(
                        "in {known} of {}, {} to read",
                        count(positions.len() as u64, "partition"),
                        count(left, "message")
                    ),
                };
                report.add(
                    of,
                    if expired > 0 {
                        Finding::warn(
                            "position",
                            format!("{found}; up to {} expired before they were read", count(expired, "message")),
                            "raise the topic's retention; `on_gap` says whether the writer goes on",
                        )
                    } else {
                        Finding::ok("position", found)
                    },
                );
            }
            Err(error) => report.add(of, position_untold(&error)),
        }
        match patiently(async || inspect.members(self.name).await).await {
            Ok(Members { members, state }) => self.members(&members, &state, of, report),
            Err(error) => report.add(of, Finding::warn("members", error.to_string(), "allow Describe on the group")),
        }
    }

    fn members(&self, members: &[Member], state: &str, of: &str, report: &mut Report) {
        let state = if state.is_empty() { String::new() } else { format!(" ({state})") };
        if members.is_empty() {
            report.add(of, Finding::ok("members", format!("none now{state}")));
            return;
        }
        let shown: Vec<String> = members
            .iter()
            .map(|Member { id, host, .. }| host.as_ref().map_or_else(|| id.clone(), |host| format!("{id} at {host}")))
            .collect();
        report.add(of, Finding::ok("members", format!("{}{state}: {}", members.len(), shown.join(", "))));
        if members.len() > self.partitions as usize {
            report.add(
                of,
                Finding::warn(
                    "members",
                    format!(
                        "{} for {}: some have nothing to do",
                        count(members.len() as u64, "member"),
                        count(self.partitions.into(), "partition")
                    ),
                    "add partitions, or run fewer",
                ),
            );
        }
        let topic = self.topic;
        for Member { id, topics, program, .. } in members {
            let reads_another = !topics.is_empty() && !topics.iter().any(|one| one == topic);
            if reads_another {
                report.add(
                    of,
                    Finding::warn(
                        "shared",
                        format!("{id} reads {}, and not `{topic}`: it is another writer's", topics.join(", ")),
                        "give each type of writer a group of its own (`kafka_consumer_group_override`)",
                    ),
                );
            } else if let Some(program) = program {
                report.add(
                    of,
                    Finding::warn(
                        "shared",
                        format!("{id} is another program (`client.id` {program}): what it reads no writer is given"),
                        "stop it, or give it a group of its own",
                    ),
                );
            }
        }
    }
}

/// Asks again for a while where the bus says that it cannot tell yet: a cluster has to find who looks after a group
/// first, and right after its start makes the topic for that.
async fn patiently<T>(mut ask: impl AsyncFnMut() -> Result<T, BusError>) -> Result<T, BusError> {
    for _ in 1..ATTEMPTS {
        match ask().await {
            Err(BusError::Unavailable(_)) => tokio::time::sleep(PAUSE).await,
            answer => return answer,
        }
    }
    ask().await
}

fn position_untold(error: &BusError) -> Finding {
    let fix = match error {
        BusError::Denied(_) => "allow the group to this user (Read)",
        _ => "ask again once the cluster is whole; a running writer waits for it",
    };
    Finding::fail("position", error.to_string(), fix)
}
