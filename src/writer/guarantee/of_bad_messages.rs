//! Messages that cannot be written, and their dead letters.

use super::circumstances::{Circumstances, stronger, weaker};
use super::fault::Fault;
use super::judged::{DELAYED, Judged, LOST, anywhere, buried, keys};
use super::may::May;
use crate::writer::doubles::Repetition;

pub(super) fn of_bad_messages(fault: Fault, around: &Circumstances<'_>) -> Judged {
    const TOPIC: &str = "common_persistence_specs.kafka_dlq_topic";
    let budget = around.policy.budget;
    let stops = "there is no dead letter topic: the writer stops at it (exit code 65), and goes on once there is one";
    let name = || {
        if around.dead_letter_topic.is_some() {
            weaker(
                TOPIC,
                around.dead_letter_topic.map(str::to_owned),
                "left out: the first bad message stops the writer",
            )
        } else {
            stronger(TOPIC, None, "a topic: bad messages are kept there, and the writer goes on")
        }
    };
    match (fault, around.dead_letter_topic) {
        (Fault::BadRow | Fault::RefusedMessage, None) => {
            Judged { because: stops.to_owned(), there: buried(around), changes: vec![name()] }
        }
        (Fault::BadRow, Some(topic)) => Judged {
            because: format!(
                "only a verdict on the row buries its message: it is kept in `{topic}`, confirmed before its position is \
                 committed; all other rows are written"
            ),
            there: buried(around),
            changes: vec![name()],
        },
        (Fault::RefusedMessage, Some(topic)) => Judged {
            because: format!(
                "it is kept in `{topic}` as it came, with the reason, confirmed before its position is committed"
            ),
            there: buried(around),
            changes: vec![name()],
        },
        (Fault::TooManyBad, _) => Judged {
            because: format!(
                "a share above {} of the last 100 messages, or more than {} in a row, is no longer about the messages: the \
                 writer stops (exit code 65) before it buries them",
                budget.max_ratio, budget.max_consecutive
            ),
            there: anywhere(around, DELAYED),
            changes: vec![
                weaker(
                    "dlq.max_ratio",
                    Some(budget.max_ratio.to_string()),
                    "1: a wrong producer moves the whole topic",
                ),
                weaker("dlq.max_consecutive", Some(budget.max_consecutive.to_string()), "more: the same"),
            ],
        },
        (Fault::DeadLetterTopicAway, None) => {
            Judged { because: "there is none".to_owned(), there: anywhere(around, May::NOTHING), changes: vec![name()] }
        }
        (Fault::DeadLetterTopicAway, Some(_)) => Judged {
            because: "a batch with a burial is acknowledged only once the letter is confirmed; until then it is sent \
                      again, and a letter may be there twice"
                .to_owned(),
            there: anywhere(around, DELAYED),
            changes: Vec::new(),
        },
        (Fault::DeadLettersReplayed, _) => Judged {
            because: "a letter goes back under its id, to the group that buried it and no other, and is marked; of a \
                      message of which only some rows were bad the others are written again"
                .to_owned(),
            there: around.repeated(May::NOTHING, Repetition::Replay),
            changes: keys(around).collect(),
        },
        (Fault::DeadLettersLeft, topic) => Judged {
            because: "a letter is kept for its topic's retention, counted from its burial".to_owned(),
            there: anywhere(around, if topic.is_some() { LOST } else { May::NOTHING }),
            changes: vec![stronger(
                "retention.ms (dead letter topic)",
                None,
                "longer than it may take until somebody looks",
            )],
        },
        _ => Judged {
            because: "`skip` keeps it as a dead letter (SKIPPED) before it moves the group behind it; with \
                      `--write-before` what lies before is written once more"
                .to_owned(),
            there: around.repeated(May::NOTHING, Repetition::Delivery),
            changes: keys(around).collect(),
        },
    }
}
