//! What a writer sends must not come back to it. Where it reads a topic, the file says so and is refused; of which
//! topic a subscription is, only the bus knows.

use crate::config::settings::WriterSettings;

/// What to do about a topic that comes back.
pub const FIX: &str = "give it another topic";

/// A topic that a writer sends to, and must not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentTo {
    /// Its name.
    pub topic: String,
    /// What it is, for people.
    what: &'static str,
    /// The field that names it.
    named_by: &'static str,
    /// What would come of reading it.
    harm: &'static str,
}

impl SentTo {
    /// Those of a writer; `parked` is where it parks. One that passes over what it published may read it.
    pub fn of(settings: &WriterSettings, parked: Option<String>) -> Vec<Self> {
        let dead_letters = settings.dlq_topic.clone().map(|topic| Self {
            topic,
            what: "dead letter topic",
            named_by: "kafka_dlq_topic",
            harm: "each of its dead letters would be given to it again, and buried again, without end",
        });
        let parked = parked.map(|topic| Self {
            topic,
            what: "parking topic",
            named_by: "parking_topic",
            harm: "what it parks would be given to it at once, and parked again, for as long as the store is away",
        });
        let may_come_back = settings.writer_type.info().passes_over_its_own;
        let published = settings.publishes.clone().filter(|_| !may_come_back).map(|publishes| Self {
            topic: publishes.topic,
            what: "topic",
            named_by: publishes.named_by,
            harm: "it would be given what it publishes",
        });
        dead_letters.into_iter().chain(parked).chain(published).collect()
    }

    /// What is wrong with it where it is the topic of the subscription that the writer reads; `field` names that.
    pub fn comes_back(&self, subscription: &str, field: &str) -> String {
        let Self { topic, what, named_by, harm } = self;
        format!(
            "{what} `{topic}`, which `{named_by}` names, is the topic of subscription `{subscription}` ({field}), \
             which this writer reads: {harm}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Publishes;
    use crate::writer::WriterType;
    use crate::writer::testing::settings;

    /// The topics that a writer of a type may not read.
    fn topics(writer_type: WriterType) -> Vec<String> {
        let mut settings = settings(writer_type, &[]);
        settings.publishes = Some(Publishes { topic: "published".to_owned(), named_by: "a_topic" });
        SentTo::of(&settings, Some("parked".to_owned())).into_iter().map(|sent| sent.topic).collect()
    }

    #[test]
    fn only_what_a_writer_passes_over_may_come_back() {
        assert_eq!(topics(WriterType::METRICS), ["dlq", "parked", "published"]);
        assert_eq!(topics(WriterType::QUERY_MIRROR), ["dlq", "parked"]);
    }
}
