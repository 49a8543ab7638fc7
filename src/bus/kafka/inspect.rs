//! What `doctor` asks of a cluster.
//!
//! Rights on a topic are found out by a message that is too large for it: the broker judges the rights first, then the
//! size, and takes nothing.

use async_trait::async_trait;
use bytes::Bytes;
use rdkafka::consumer::Consumer;
use rdkafka::groups::GroupMemberInfo;

use super::access::Access;
use super::positions::ANSWER_WITHIN;
use super::publisher::{Client, enqueue, explain, flatten};
use super::{Kafka, properties, standing, topics};
use crate::bus::inspect::{HeldUpBy, Inspect, Member, Members, Takes};
use crate::bus::{Bus, BusError, TopicInfo};
use crate::message::{Headers, Outgoing};

/// A topic that takes larger messages is not tried: the message would have to be larger still.
const LARGEST_TRIED: usize = 16 << 20;

/// More than what a batch of one message has beside its body.
const BEYOND: usize = 1024;

#[async_trait]
impl Inspect for Kafka {
    async fn members(&self, group: &str) -> Result<Members, BusError> {
        let access = Access::fetch(&self.settings).await?;
        let name = group.to_owned();
        let program = properties::program(&self.settings).to_owned();
        let found = topics::ask(&self.settings, &access, move |consumer| {
            let list = consumer.fetch_group_list(Some(&name), ANSWER_WITHIN)?;
            let found = list.groups().iter().find(|known| known.name() == name);
            Ok(found.map(|group| Members {
                members: group.members().iter().map(|one| member(one, &program)).collect(),
                state: group.state().to_owned(),
            }))
        });
        let mut members = found.await?.unwrap_or_default();
        let by_broker = self.settings.properties.get("group.protocol").is_some_and(|protocol| protocol == "consumer");
        if by_broker && members.members.is_empty() {
            "the broker assigns (`group.protocol`), and does not tell this client who is in the group"
                .clone_into(&mut members.state);
        }
        Ok(members)
    }

    async fn held_up(&self, topic: &str) -> Result<Vec<(i32, HeldUpBy)>, BusError> {
        standing::held_up(&self.settings, topic).await
    }

    async fn takes(&self, topic: &str) -> Result<Takes, BusError> {
        let TopicInfo { max_message_bytes: limit, untold, .. } = self.topic(topic).await?;
        let Some(limit) = limit.filter(|limit| *limit <= LARGEST_TRIED) else {
            let untold = untold.unwrap_or("the broker does not tell it");
            let why = limit.map_or_else(
                || format!("its limit is not known ({untold})"),
                |limit| format!("its limit is {limit} bytes"),
            );
            return Ok(Takes::Unknown(format!("{why}, and nothing larger is sent only to be refused")));
        };
        let access = Access::fetch(&self.settings).await?;
        let mut config = properties::producer(&self.settings, &access);
        // The broker is to judge the size, and of all of it.
        config
            .set("message.max.bytes", "1000000000")
            .set("queue.buffering.max.kbytes", "2097151")
            .set("compression.type", "none");
        let client = Client::new(&config, &access)?;
        let message = Outgoing {
            topic: topic.to_owned(),
            partition: None,
            key: Some(Bytes::from_static(b"chalk-writer doctor")),
            headers: Headers::new(),
            payload: Some(vec![0; limit + BEYOND].into()),
            timestamp_ms: None,
        };
        let sent = flatten(enqueue(&client, &message).await?.await).map_err(|error| explain(&client, &message, &error));
        // Ending a producer waits for its threads.
        tokio::task::spawn_blocking(move || drop(client));
        match sent {
            Err(BusError::TooLarge(_)) => {
                Ok(Takes::Yes("a message larger than it takes was refused for its size alone"))
            }
            Err(error) => Err(error),
            Ok((partition, offset)) => Err(BusError::Failed(format!(
                "a message of {} bytes was meant to be refused and lies at {topic}/{partition}/{offset} now: the limit \
                 that the broker tells is not the one that it keeps",
                limit + BEYOND
            ))),
        }
    }
}

fn member(member: &GroupMemberInfo, own_program: &str) -> Member {
    Member {
        id: member.id().to_owned(),
        host: Some(member.client_host().trim_start_matches('/').to_owned()).filter(|host| !host.is_empty()),
        topics: member.metadata().and_then(subscription).unwrap_or_default(),
        program: Some(member.client_id().to_owned()).filter(|program| *program != own_program),
    }
}

/// The topics in what a member says of itself: a version, and a list of names with their lengths.
fn subscription(metadata: &[u8]) -> Option<Vec<String>> {
    let (_version, rest) = metadata.split_first_chunk::<2>()?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let mut topics = Vec::new();
    for _ in 0..i32::from_be_bytes(*count) {
        let (length, more) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (name, more) = more.split_at_checked(length)?;
        topics.push(String::from_utf8(name.to_vec()).ok()?);
        rest = more;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topics_of_a_member_are_read_and_garbage_is_none() {
        let metadata = b"\0\x01\0\0\0\x02\0\x01a\0\x07results\xff\xff\xff\xff";
        assert_eq!(subscription(metadata), Some(vec!["a".to_owned(), "results".to_owned()]));
        for cut in 0..17 {
            assert_eq!(subscription(&metadata[..cut]), None, "{cut}");
        }
        assert_eq!(subscription(b"\0\x01\xff\xff\xff\xff"), Some(Vec::new()));
        assert_eq!(subscription(b"\0\x01\0\0\0\x01\xff\xff"), None);
    }
}
