//! Publishing: one thread, one transaction for all that waits, one `fsync` for the transaction.

use std::path::PathBuf;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::append::{self, Topics};
use super::file::{BusFile, Fault};
use super::{group, no_file};
use crate::bus::{BusError, Landing, Placed, Publisher, Undelivered, all_landed};
use crate::message::Outgoing;

/// Calls that may wait for the thread; more wait before the channel.
const WAITING_CALLS: usize = 64;
/// Messages after which a transaction takes no further call.
const TRANSACTION_MESSAGES: usize = 10_000;

struct Call {
    messages: Vec<Outgoing>,
    reply: oneshot::Sender<Vec<Landing>>,
}

/// Sends messages to a bus file. The thread behind it ends with it.
pub(super) struct LocalPublisher {
    calls: mpsc::Sender<Call>,
    max_message_bytes: usize,
}

impl LocalPublisher {
    pub(super) fn start(path: PathBuf, max_message_bytes: usize) -> Result<Self, BusError> {
        let (calls, receiver) = mpsc::channel(WAITING_CALLS);
        let writer = Writer { path, file: None, turn: fastrand::usize(..) };
        std::thread::Builder::new()
            .name("bus-publisher".to_owned())
            .spawn(move || writer.run(receiver))
            .map_err(|error| BusError::Unavailable(format!("no thread for the publisher: {error}")))?;
        Ok(Self { calls, max_message_bytes })
    }
}

#[async_trait]
impl Publisher for LocalPublisher {
    async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<Placed>, Undelivered> {
        let fits = messages.iter().map(|message| append::check_size(message, self.max_message_bytes));
        let mut landings: Vec<Option<Landing>> = fits.map(|fits| fits.err().map(Err)).collect();
        let fitting: Vec<Outgoing> = messages
            .iter()
            .zip(&landings)
            .filter(|(_, landing)| landing.is_none())
            .map(|(one, _)| one.clone())
            .collect();
        let answers = self.hand_over(fitting).await.map_err(|error| Undelivered::all(error, messages.len()))?;
        let unheard = || Err(BusError::Failed("the publisher's thread did not answer for every message".to_owned()));
        let mut answers = answers.into_iter();
        for landing in landings.iter_mut().filter(|landing| landing.is_none()) {
            *landing = answers.next();
        }
        all_landed(landings.into_iter().map(|landing| landing.unwrap_or_else(unheard)).collect())
    }
}

impl LocalPublisher {
    /// What became of each message.
    async fn hand_over(&self, messages: Vec<Outgoing>) -> Result<Vec<Landing>, BusError> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let (reply, answer) = oneshot::channel();
        let gone = || BusError::Failed("the publisher's thread has ended".to_owned());
        self.calls.send(Call { messages, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}

struct Writer {
    path: PathBuf,
    file: Option<BusFile>,
    turn: usize,
}

impl Writer {
    fn run(mut self, mut calls: mpsc::Receiver<Call>) {
        while let Some(call) = calls.blocking_recv() {
            let mut together = vec![call];
            let mut count = together[0].messages.len();
            while count < TRANSACTION_MESSAGES
                && let Ok(call) = calls.try_recv()
            {
                count += call.messages.len();
                together.push(call);
            }
            self.publish(together);
        }
    }

    /// Publishes several calls together; a message that asks for what is not there fails alone.
    fn publish(&mut self, calls: Vec<Call>) {
        let answers = self.transaction(&calls);
        if answers.is_err() {
            // The next call opens the file anew: it may have been replaced, or repaired.
            self.file = None;
        }
        for (index, call) in calls.into_iter().enumerate() {
            let answer = match &answers {
                Ok(answers) => answers[index].clone(),
                Err(error) => vec![Err(error.clone()); call.messages.len()],
            };
            // Nobody waits any longer where a call was cancelled; its messages are published all the same.
            drop(call.reply.send(answer));
        }
    }

    fn transaction(&mut self, calls: &[Call]) -> Result<Vec<Vec<Landing>>, BusError> {
        let file = match &mut self.file {
            Some(file) => file,
            none => match BusFile::open(&self.path)? {
                Some(file) => none.insert(file),
                None => {
                    let missing = |message: &Outgoing| Err(no_file(&message.topic, &self.path));
                    return Ok(calls.iter().map(|call| call.messages.iter().map(missing).collect()).collect());
                }
            },
        };
        let turn = &mut self.turn;
        file.write(|transaction| {
            let (mut topics, now) = (Topics::new(), group::now_ms());
            let mut answers = Vec::with_capacity(calls.len());
            for call in calls {
                let mut landings = Vec::with_capacity(call.messages.len());
                for message in &call.messages {
                    landings.push(match append::check(transaction, &mut topics, message) {
                        Ok(()) => Ok(append::append(transaction, &mut topics, message, turn, now)?),
                        Err(Fault::Bus(error)) => Err(error),
                        Err(fault) => return Err(fault),
                    });
                }
                answers.push(landings);
            }
            append::set_ends(transaction, &topics)?;
            Ok(answers)
        })
    }
}
