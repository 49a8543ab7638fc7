//! Publishing: one thread, one transaction for all that waits, one `fsync` for the transaction.

use std::path::PathBuf;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use super::append::{self, Topics};
use super::file::{BusFile, Fault};
use super::no_file;
use crate::bus::{BusError, Placed, Publisher};
use crate::message::Outgoing;

/// Calls that may wait for the thread; more wait before the channel.
const WAITING_CALLS: usize = 64;
/// Messages after which a transaction takes no further call.
const TRANSACTION_MESSAGES: usize = 10_000;

struct Call {
    messages: Vec<Outgoing>,
    reply: oneshot::Sender<Result<Vec<Placed>, BusError>>,
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
    async fn publish(&self, messages: &[Outgoing]) -> Result<Vec<Placed>, BusError> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        append::check_sizes(messages, self.max_message_bytes)?;
        let (reply, answer) = oneshot::channel();
        let gone = || BusError::Failed("the publisher's thread has ended".to_owned());
        self.calls.send(Call { messages: messages.to_vec(), reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
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

    /// Publishes several calls together; a call that names a wrong topic fails alone.
    fn publish(&mut self, calls: Vec<Call>) {
        let answers = self.transaction(&calls);
        if answers.is_err() {
            // The next call opens the file anew: it may have been replaced, or repaired.
            self.file = None;
        }
        for (index, call) in calls.into_iter().enumerate() {
            let answer = answers.as_ref().map_or_else(|error| Err(error.clone()), |answers| answers[index].clone());
            // Nobody waits any longer where a call was cancelled; its messages are published all the same.
            drop(call.reply.send(answer));
        }
    }

    fn transaction(&mut self, calls: &[Call]) -> Result<Vec<Result<Vec<Placed>, BusError>>, BusError> {
        let file = match &mut self.file {
            Some(file) => file,
            none => match BusFile::open(&self.path)? {
                Some(file) => none.insert(file),
                None => {
                    return Ok(calls.iter().map(|call| Err(no_file(&call.messages[0].topic, &self.path))).collect());
                }
            },
        };
        let turn = &mut self.turn;
        file.write(|transaction| {
            let mut topics = Topics::new();
            let mut answers = Vec::with_capacity(calls.len());
            for call in calls {
                answers.push(match append::check(transaction, &mut topics, &call.messages) {
                    Ok(()) => Ok(append::append(transaction, &mut topics, &call.messages, turn)?),
                    Err(Fault::Bus(error)) => Err(error),
                    Err(fault) => return Err(fault),
                });
            }
            append::set_ends(transaction, &topics)?;
            Ok(answers)
        })
    }
}
