//! Sends letters again and marks them: first the message, confirmed, then its mark.
//!
//! Ended at any point, also by a kill, it can be done again: what is marked was sent, and of what is
//! not marked at most one handful was sent already. What a topic does not take is told, and neither keeps the others from being
//! sent nor has them sent twice. Sent twice, a message has the same `ce_id` twice,
//! and in a store that knows rows by key or time it leaves what it would have left once. A lake does not
//! know them: there each writing leaves its rows, with the same `__observation_id__`, also those sound
//! ones that were written when the message was buried.

use std::sync::Arc;

use serde::Serialize;

use crate::bus::{BusError, Placed, Publisher};
use crate::dead_letter::{DeadLetter, Mark};
use crate::message::Outgoing;
use crate::value::time::now;

use super::super::exit::{Exit, Failure};

/// Letters, and bytes, that are sent before they are marked.
const LETTERS_AT_ONCE: usize = 100;
const BYTES_AT_ONCE: usize = 4 << 20;

/// A letter that was not sent.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Failed {
    /// Its place in the dead letter topic: `partition/offset`.
    pub(super) place: String,
    /// Why not.
    pub(super) reason: String,
}

impl Failed {
    pub(super) fn new(letter: &DeadLetter, reason: impl Into<String>) -> Self {
        Self { place: format!("{}/{}", letter.partition, letter.offset), reason: reason.into() }
    }
}

/// Letters on their way.
pub(super) struct Redrive {
    publisher: Arc<dyn Publisher>,
    /// The dead letter topic, for marks.
    topic: String,
    waiting: Vec<(DeadLetter, Outgoing)>,
    bytes: usize,
    /// Letters that were sent and marked.
    pub(super) replayed: u64,
    /// Letters that were not.
    pub(super) failed: Vec<Failed>,
}

impl Redrive {
    pub(super) fn new(publisher: Arc<dyn Publisher>, topic: String) -> Self {
        Self { publisher, topic, waiting: Vec::new(), bytes: 0, replayed: 0, failed: Vec::new() }
    }

    /// Takes a letter and the message to be sent for it; sends when there are enough.
    pub(super) async fn push(&mut self, mut letter: DeadLetter, message: Outgoing) -> Result<(), Failure> {
        // The message has the body; what is edited would be held twice.
        letter.original = crate::dead_letter::read::Original::default();
        self.bytes += message.payload.as_ref().map_or(0, bytes::Bytes::len);
        self.waiting.push((letter, message));
        if self.waiting.len() >= LETTERS_AT_ONCE || self.bytes >= BYTES_AT_ONCE { self.flush().await } else { Ok(()) }
    }

    /// Sends what waits, and marks it.
    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        let (letters, messages): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting).into_iter().unzip();
        self.bytes = 0;
        let undelivered = match self.publisher.publish(&messages).await {
            Ok(placed) => return self.mark(letters.iter().zip(&placed)).await,
            Err(undelivered) => undelivered,
        };
        let landings = || letters.iter().zip(undelivered.landings());
        for (letter, landing) in landings() {
            if let Err(error) = landing
                && error.is_verdict()
            {
                self.failed.push(Failed::new(letter, error.clone().into_reason()));
            }
        }
        // What landed all the same is marked: a repetition sends none of it again.
        let marked = self.mark(landings().filter_map(|(letter, landing)| Some((letter, landing.as_ref().ok()?)))).await;
        match (undelivered.reason(), marked) {
            (error, marked) if error.is_verdict() => marked,
            (error, Ok(())) => Err(self.stopped(error)),
            (error, Err(mut unmarked)) => {
                unmarked.text += &format!("; and before that: {error}");
                Err(unmarked)
            }
        }
    }

    async fn mark<'a>(&mut self, sent: impl Iterator<Item = (&'a DeadLetter, &'a Placed)>) -> Result<(), Failure> {
        let at_ms = now() / 1_000;
        let marks: Vec<Outgoing> = sent
            .map(|(letter, Placed { partition, offset })| {
                let to = format!("{}/{}/{offset}", partition.topic, partition.number);
                Mark::new(letter, at_ms, to).record(&self.topic, letter.partition)
            })
            .collect();
        if marks.is_empty() {
            return Ok(());
        }
        match self.publisher.publish(&marks).await {
            Ok(_) => {
                self.replayed += marks.len() as u64;
                Ok(())
            }
            Err(error) => {
                let unmarked = error.landings().iter().filter(|landing| landing.is_err()).count();
                self.replayed += (marks.len() - unmarked) as u64;
                let text = format!(
                    "{} sent again and not marked, since the dead letter topic does not take the marks: {error}; a \
                     repetition sends them once more, with the same ids",
                    super::super::output::count(unmarked as u64, "letter")
                );
                Err(Failure::new(Exit::Failed, text))
            }
        }
    }

    fn stopped(&self, error: &BusError) -> Failure {
        let exit = Failure::from(error.clone()).exit;
        let text = format!("{error}; {} replayed before that, and the same command goes on", self.replayed);
        Failure::new(exit, text)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::bus::{Undelivered, all_landed};
    use crate::dead_letter::{Marks, again};
    use crate::message::Partition;

    /// A bus that keeps what it is sent, and fails at one call: before it takes the messages, in the
    /// middle of them, or after all of them, as a process that is killed would leave it.
    #[derive(Default)]
    struct Dying {
        taken: Mutex<Vec<Outgoing>>,
        calls: Mutex<usize>,
        dies_at: usize,
        takes_of_it: usize,
    }

    #[async_trait]
    impl Publisher for Dying {
        async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<Placed>, Undelivered> {
            let call = {
                let mut calls = self.calls.lock().expect("no panic");
                *calls += 1;
                *calls
            };
            let mut taken = self.taken.lock().expect("no panic");
            if call == self.dies_at {
                taken.extend(messages.iter().take(self.takes_of_it).cloned());
                return Err(Undelivered::all(BusError::Unavailable("killed".to_owned()), messages.len()));
            }
            let first = taken.len();
            taken.extend_from_slice(messages);
            let placed = |(at, message): (usize, &Outgoing)| Placed {
                partition: Partition { topic: message.topic.as_str().into(), number: 0 },
                offset: (first + at) as i64,
            };
            Ok(messages.iter().enumerate().map(placed).collect())
        }
    }

    fn letters(count: i64) -> Vec<DeadLetter> {
        let letter = |offset| {
            let mut letter = DeadLetter { partition: 0, offset, ..DeadLetter::default() };
            letter.notes.topic = "results".to_owned();
            letter.notes.partition = Some(2);
            letter.notes.offset = Some(offset);
            let id = format!("id-{offset}");
            letter.original.headers = [("ce_id", id.as_str())].into_iter().collect();
            letter
        };
        (0..count).map(letter).collect()
    }

    /// What was sent, by `ce_id`, and the marks.
    fn sorted(taken: &[Outgoing]) -> (Vec<String>, Marks) {
        let mut marks = Marks::default();
        let mut sent = Vec::new();
        for message in taken {
            if message.topic == "dlq" {
                let header = |name: &str| message.headers.get_str(name).expect("a mark").to_owned();
                let (letter, origin) = (header("chalk_dlq_replayed"), header("chalk_dlq_replayed_origin"));
                marks.add(Mark {
                    letter,
                    origin,
                    at: header("chalk_dlq_replayed_at"),
                    to: header("chalk_dlq_replayed_to"),
                });
            } else {
                sent.push(message.headers.get_str("ce_id").expect("an id").to_owned());
            }
        }
        (sent, marks)
    }

    async fn drive(publisher: Arc<Dying>, letters: &[DeadLetter], marks: &Marks) -> Result<Redrive, Failure> {
        let mut redrive = Redrive::new(publisher, "dlq".to_owned());
        for letter in letters {
            let place = format!("{}/{}", letter.partition, letter.offset);
            if marks.of(&place, &letter.origin()).is_none() {
                redrive.push(letter.clone(), again(letter, "g")).await?;
            }
        }
        redrive.flush().await?;
        Ok(redrive)
    }

    /// Every call to the bus is a point at which a kill may come, and of each what the bus had taken
    /// by then: nothing, a part, or all.
    #[tokio::test]
    async fn ended_at_any_point_and_repeated_every_letter_is_sent_and_only_unmarked_ones_twice() {
        let letters = letters(250);
        for dies_at in 1..=6 {
            for takes_of_it in [0, 1, 99, 100] {
                let first = Arc::new(Dying { dies_at, takes_of_it, ..Dying::default() });
                drive(Arc::clone(&first), &letters, &Marks::default()).await.map(drop).expect_err("it is killed");
                let taken = first.taken.lock().expect("no panic").clone();
                let (sent_before, marks) = sorted(&taken);

                let second = Arc::new(Dying::default());
                let redrive = drive(Arc::clone(&second), &letters, &marks).await.expect("it goes to its end");
                let (sent_again, more_marks) = sorted(&second.taken.lock().expect("no panic"));
                assert_eq!(redrive.replayed as usize, sent_again.len());
                for letter in &letters {
                    let (id, place) = (format!("id-{}", letter.offset), format!("0/{}", letter.offset));
                    let was_marked = marks.of(&place, &letter.origin()).is_some();
                    let times = |sent: &[String]| sent.iter().filter(|sent| **sent == id).count();
                    assert!(!was_marked || times(&sent_before) == 1, "{dies_at}/{takes_of_it}: marked and not sent");
                    assert_eq!(times(&sent_again), usize::from(!was_marked), "{dies_at}/{takes_of_it}: {place}");
                    assert!(was_marked || more_marks.of(&place, &letter.origin()).is_some(), "marked in the end");
                }
                let twice = sent_before.iter().filter(|id| sent_again.contains(id)).count();
                assert!(twice <= LETTERS_AT_ONCE, "{dies_at}/{takes_of_it}: {twice} sent twice");
            }
        }
    }

    /// A bus that takes no body above a size, as a topic whose limit was lowered, in its own words.
    struct Narrow(Dying, fn(String) -> BusError);

    #[async_trait]
    impl Publisher for Narrow {
        async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<Placed>, Undelivered> {
            let mut landings = Vec::new();
            for message in messages {
                let large = message.topic != "dlq" && message.payload.as_ref().is_some_and(|body| body.len() > 9);
                landings.push(if large {
                    Err((self.1)("10 bytes, the topic takes 9".to_owned()))
                } else {
                    Ok(self.0.publish(std::slice::from_ref(message)).await?.remove(0))
                });
            }
            all_landed(landings)
        }
    }

    #[tokio::test]
    async fn a_letter_that_its_topic_does_not_take_holds_up_no_other() {
        for verdict in [BusError::TooLarge, BusError::Refused] {
            let mut letters = letters(3);
            letters[1].original.payload = Some(bytes::Bytes::from(vec![0; 10]));
            let bus = Arc::new(Narrow(Dying::default(), verdict));
            let mut redrive = Redrive::new(Arc::clone(&bus) as Arc<dyn Publisher>, "dlq".to_owned());
            for letter in &letters {
                redrive.push(letter.clone(), again(letter, "g")).await.expect("taken");
            }
            redrive.flush().await.expect("the others are sent");
            assert_eq!((redrive.replayed, &*redrive.failed[0].place), (2, "0/1"));
            let (sent, marks) = sorted(&bus.0.taken.lock().expect("no panic"));
            assert_eq!(sent, ["id-0", "id-2"]);
            assert!(marks.of("0/1", &letters[1].origin()).is_none());
        }
    }

    #[tokio::test]
    async fn of_many_letters_with_one_in_each_hundred_that_is_not_taken_none_is_sent_twice() {
        let mut letters = letters(300);
        for at in [40, 140, 240] {
            letters[at].original.payload = Some(bytes::Bytes::from(vec![0; 10]));
        }
        let bus = Arc::new(Narrow(Dying::default(), BusError::TooLarge));
        let mut redrive = Redrive::new(Arc::clone(&bus) as Arc<dyn Publisher>, "dlq".to_owned());
        for letter in &letters {
            redrive.push(letter.clone(), again(letter, "g")).await.expect("taken");
        }
        redrive.flush().await.expect("the others are sent");
        assert_eq!((redrive.replayed, redrive.failed.len()), (297, 3));
        let (mut sent, _) = sorted(&bus.0.taken.lock().expect("no panic"));
        let all = sent.len();
        sent.sort();
        sent.dedup();
        assert_eq!((all, sent.len()), (297, 297));
    }

    /// A bus that goes away in the middle of a publish, and says what it had taken by then.
    struct Half(Dying);

    #[async_trait]
    impl Publisher for Half {
        async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<Placed>, Undelivered> {
            let (now, later) = messages.split_at(if messages[0].topic == "dlq" { messages.len() } else { 60 });
            let landed = self.0.publish(now).await?.into_iter().map(Ok);
            let away = later.iter().map(|_| Err(BusError::Unavailable("away".to_owned())));
            all_landed(landed.chain(away).collect())
        }
    }

    #[tokio::test]
    async fn what_the_bus_had_taken_before_it_went_away_is_marked() {
        let letters = letters(100);
        let bus = Arc::new(Half(Dying::default()));
        let mut redrive = Redrive::new(Arc::clone(&bus) as Arc<dyn Publisher>, "dlq".to_owned());
        let mut stopped = Ok(());
        for letter in &letters {
            stopped = redrive.push(letter.clone(), again(letter, "g")).await;
        }
        assert!(stopped.expect_err("it is away").text.contains("60 replayed before that"));
        let (sent, marks) = sorted(&bus.0.taken.lock().expect("no panic"));
        assert_eq!(sent.len(), 60);
        let marked = |letter: &&DeadLetter| marks.of(&format!("0/{}", letter.offset), &letter.origin()).is_some();
        assert_eq!(letters.iter().filter(marked).count(), 60);
    }
}
