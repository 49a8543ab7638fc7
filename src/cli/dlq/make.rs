//! The message that is sent for a letter: as it was or with another body, and asked of its writer first.

use std::io::{IsTerminal, stdin};

use crate::dead_letter::{DeadLetter, again};
use crate::message::Outgoing;

use super::super::exit::{Exit, Failure};
use super::super::output::yes;
use super::edit::{self, Draft, Edit, Trouble};
use super::target::Targets;

/// A command that fails for so many letters before it has worked for any is wrong itself.
const FAILURES: usize = 10;

/// Makes messages of letters.
pub(super) struct Maker {
    edit: Option<Edit>,
    targets: Targets,
    /// Letters that would be refused again are sent all the same.
    even_refused: bool,
    /// Whether the command has worked for a letter.
    worked: bool,
    /// For how many it has failed.
    failures: usize,
}

/// What became of a letter.
pub(super) enum Made {
    /// To be sent; with what its writer would refuse of it, `None` where nobody can say.
    Message { message: Box<Outgoing>, group: String, refused: Option<Vec<String>> },
    /// Its writer would refuse it again.
    Refused { group: String, what: &'static str, refused: Vec<String> },
    /// There is no message.
    Failed { group: String, reason: String },
}

/// Why a letter is held back; `what` names the body where it is not that of the letter.
pub(super) fn reason(what: &str, refused: &[String]) -> String {
    format!("{what}would be refused again: {}", refused.join("; "))
}

impl Maker {
    pub(super) fn new(edit: Option<Edit>, targets: Targets, even_refused: bool) -> Self {
        Self { edit, targets, even_refused, worked: false, failures: 0 }
    }

    /// Whether a person changes each body.
    pub(super) fn by_hand(&self) -> bool {
        matches!(self.edit, Some(Edit::Editor(_)))
    }

    /// The message of a letter; a failure ends all of it.
    pub(super) fn make(&mut self, letter: &mut DeadLetter) -> Result<Made, Failure> {
        let group = match self.targets.group(&letter.notes) {
            Ok(group) => group,
            Err(reason) => return Ok(Made::Failed { group: String::new(), reason }),
        };
        let Some(edit) = self.edit.clone() else { return Ok(self.asked(letter, group)) };
        let mut draft = match edit.draft(letter, self.targets.largest_body(&group, &letter.notes.topic)) {
            Ok(draft) => draft,
            Err(reason) => return Ok(Made::Failed { group, reason }),
        };
        loop {
            let is_changed = match self.edited(&edit, &mut draft, letter) {
                Ok(is_changed) => is_changed,
                Err(Trouble::Every(reason)) => return Err(Failure::new(Exit::Failed, reason)),
                Err(Trouble::Letter(reason) | Trouble::Command(reason)) => return Ok(Made::Failed { group, reason }),
            };
            match self.asked(letter, group.clone()) {
                Made::Refused { group, refused, .. } => {
                    let what = if is_changed { "the edited body " } else { "the body, left as it was, " };
                    let by_hand = matches!(edit, Edit::Editor(_)) && stdin().is_terminal();
                    let question = || format!("{}\nEdit it again? [Y/n]", reason(what, &refused));
                    if !by_hand || !yes(&question(), true) {
                        return Ok(Made::Refused { group, what, refused });
                    }
                }
                made => return Ok(made),
            }
        }
    }

    /// Gives a letter its other body, or that of the beginning back, and says whether it has another.
    fn edited(&mut self, edit: &Edit, draft: &mut Draft, letter: &mut DeadLetter) -> Result<bool, Trouble> {
        match edit.apply(draft) {
            Err(Trouble::Command(reason)) if !self.worked => {
                self.failures += 1;
                Err(if self.failures >= FAILURES {
                    Trouble::Every(format!("{reason}, as for all of the first {FAILURES} letters; nothing was sent"))
                } else {
                    Trouble::Command(reason)
                })
            }
            changed => {
                let changed = changed?;
                self.worked = true;
                let is_changed = changed.is_some();
                // What was edited before, and refused, is not in it any more.
                letter.original = draft.original().clone();
                if let Some(body) = changed {
                    edit::replace(&mut letter.original, body);
                }
                Ok(is_changed)
            }
        }
    }

    /// Asks the writer's decoder.
    fn asked(&mut self, letter: &DeadLetter, group: String) -> Made {
        let message = again(letter, &group);
        match self.targets.refusals(&group, &message) {
            Some(refused) if !refused.is_empty() && !self.even_refused => Made::Refused { group, what: "", refused },
            refused => Made::Message { message: Box::new(message), group, refused },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::read::Original;
    use crate::generate::{BodyEncoding, Generator, Options};

    #[test]
    fn an_edit_that_is_taken_back_leaves_the_letter_as_it_was() {
        let through = |command: &str| Edit::Through(command.to_owned());
        let options = Options { encoding: BodyEncoding::Protobuf, ..Options::default() };
        let protobuf = Generator::new(1, options).next().and_then(|message| message.payload).expect("a body");
        for (content_type, body, from, to) in [
            ("application/json", bytes::Bytes::from(r#"{"a":"prod"}"#), "prod", "dev"),
            ("application/protobuf", protobuf, "prod", "dev"),
        ] {
            let headers = [("ce_id", "e-1"), ("content-type", content_type)].into_iter().collect();
            let original = Original { headers, payload: Some(body), ..Original::default() };
            let mut letter = DeadLetter { original: original.clone(), ..DeadLetter::default() };
            let mut maker = Maker::new(None, Targets::new(Vec::new(), None), false);
            let mut draft = through("cat").draft(&letter, 1 << 20).expect("a draft");
            let mut edited = |command: &str, letter: &mut DeadLetter| {
                maker.edited(&through(command), &mut draft, letter).expect("edited")
            };
            assert!(edited(&format!("sed s/{from}/{to}/"), &mut letter));
            let changed = letter.original.clone();
            assert_ne!(changed, original);
            assert!(edited("cat", &mut letter), "left as it was edited before");
            assert_eq!(letter.original, changed);
            assert!(!edited(&format!("sed s/{to}/{from}/"), &mut letter), "{content_type}");
            assert_eq!(letter.original, original);
        }
    }

    #[test]
    fn a_body_of_nothing_is_not_taken_for_no_change() {
        let original = Original { payload: Some("{}".into()), ..Original::default() };
        let mut letter = DeadLetter { original, ..DeadLetter::default() };
        let nothing = Edit::Body(bytes::Bytes::new());
        let mut maker = Maker::new(None, Targets::new(Vec::new(), None), false);
        let mut draft = nothing.draft(&letter, 1 << 20).expect("a draft");
        let trouble = maker.edited(&nothing, &mut draft, &mut letter).expect_err("nothing");
        assert!(trouble.to_string().contains("nothing is left"), "{trouble}");
    }
}
