//! A dead letter topic read from its beginning to its end: letters put together from their parts,
//! and the marks of those that were sent again.

use std::collections::VecDeque;

use crate::bus::{Browse, BrowseFrom, BusError};
use crate::config::names;
use crate::dead_letter::{Assembler, DeadLetter, Mark, read};
use crate::message::Message;

use super::super::exit::Failure;
use super::Opened;

/// Memory for letters in parts whose other parts have not been read yet.
pub(super) const PARTS_LIMIT: usize = 256 << 20;

/// What a record of the topic is.
pub(super) enum Record {
    /// A whole letter.
    Letter(Box<DeadLetter>),
    /// A letter was sent again. It lies behind the letter, in the same partition.
    Mark(Mark),
    /// Neither.
    Foreign,
}

/// A reading of the topic.
pub(super) struct Letters {
    browse: Option<Box<dyn Browse>>,
    waiting: VecDeque<Message>,
    assembler: Assembler,
    /// The project of names that do not say it, where names have one.
    project: Option<String>,
}

impl Letters {
    pub(super) async fn read(opened: &Opened) -> Result<Self, Failure> {
        let browse = match opened.bus.browse(&opened.topic, BrowseFrom::Earliest).await {
            Ok(browse) => Some(browse),
            Err(BusError::NotFound(_)) if opened.may_be_missing => None,
            Err(error) => return Err(error.into()),
        };
        let project = opened.deployment.bus_settings().project().map(str::to_owned);
        Ok(Self { browse, waiting: VecDeque::new(), assembler: Assembler::new(PARTS_LIMIT), project })
    }

    /// The next record; `None` at the end that the topic had when the reading began.
    pub(super) async fn next(&mut self) -> Result<Option<Record>, Failure> {
        loop {
            let Some(message) = self.waiting.pop_front() else {
                let Some(browse) = &mut self.browse else { return Ok(None) };
                self.waiting = browse.next().await?.into();
                if self.waiting.is_empty() {
                    self.browse = None;
                }
                continue;
            };
            let record = match read(&message) {
                Some(letter) => match self.assembler.push(letter) {
                    Some(whole) => Record::Letter(Box::new(renamed(whole, self.project.as_deref()))),
                    None => continue,
                },
                None => Mark::read(&message).map_or(Record::Foreign, Record::Mark),
            };
            return Ok(Some(record));
        }
    }

    /// How many letters had not all of their parts there.
    pub(super) fn incomplete(self) -> u64 {
        self.assembler.incomplete().len() as u64
    }
}

/// A letter with its group as the configuration names it now: it may have been spelled out when the letter was buried.
fn renamed(mut letter: DeadLetter, project: Option<&str>) -> DeadLetter {
    letter.notes.group = letter.notes.group.map(|group| names::group(project, &group).to_owned());
    letter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_of_a_subscription_that_was_spelled_out_is_of_the_group_that_is_configured() {
        let group = |group: &str, project| {
            let mut letter = DeadLetter::default();
            letter.notes.group = Some(group.to_owned());
            renamed(letter, project).notes.group.expect("it has one")
        };
        let whole = "projects/p/subscriptions/results-online";
        assert_eq!(group(whole, Some("p")), "results-online");
        assert_eq!(group("results-online", Some("p")), "results-online");
        assert_eq!(group(whole, Some("other")), whole);
        assert_eq!(group(whole, None), whole, "elsewhere a group has one name");
    }
}
