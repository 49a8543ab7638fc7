//! Brings calls to the servers that have their keys, and says of each what became of it.
//!
//! Every node is written to over one connection, calls following one another without waiting for an
//! answer, as many as the write allows. A call that is sent elsewhere by its server follows in the next
//! round; one whose keys are in two places while their slot moves is cut into single keys. What a node
//! does not take holds up nothing that other nodes do.

use std::sync::Arc;

use fred::error::Error;
use fred::types::Value;
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use tokio::sync::Semaphore;

use super::answer::{Answer, Kind, Trouble, is_of_the_row};
use super::calls::{Call, Plan};
use super::node::Node;
use super::session::Session;
use super::topology::{REDIRECTIONS, Redirection, Topology};
use super::{layout, replicas};

/// What is written, and how.
pub(super) struct Writing<'a> {
    pub(super) topology: &'a Topology,
    pub(super) plan: Plan<'a>,
    pub(super) now: i64,
    /// Entities on their way to one server at once.
    pub(super) window: u32,
    pub(super) wait_replicas: u32,
}

/// What became of calls.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) answered: Vec<(Call, Answer)>,
    /// Not written as far as is known, and why.
    pub(super) left: Vec<(Call, Trouble)>,
}

/// What became of one call at one server.
#[derive(Clone, Debug)]
enum Verdict {
    Done(Answer),
    Elsewhere(Redirection),
    /// Its keys are in two places while their slot moves.
    Divided,
    Failed(Trouble),
}

impl Writing<'_> {
    /// Writes calls, following redirections.
    pub(super) async fn run(&self, mut calls: Vec<Call>) -> Written {
        let mut written = Written::default();
        let mut knows_better = None;
        for _ in 0..=REDIRECTIONS {
            if let Err(trouble) = self.topology.refresh(knows_better.as_ref()).await {
                written.left.extend(calls.into_iter().map(|call| (call, trouble.clone())));
                return written;
            }
            let mut next = Vec::new();
            for (node, verdicts) in join_all(self.by_node(calls, &mut written)).await {
                for (call, verdict) in verdicts {
                    match verdict {
                        Verdict::Done(answer) => written.answered.push((call, answer)),
                        Verdict::Elsewhere(Redirection::Moved) => {
                            self.topology.contradicted();
                            knows_better = Some(node.clone());
                            next.push(call.at(None));
                        }
                        Verdict::Elsewhere(Redirection::Ask(host, port)) => {
                            next.push(call.at(Some(self.topology.node(&host, port))));
                        }
                        Verdict::Divided => next.extend(call.single()),
                        Verdict::Failed(trouble) => {
                            self.topology.contradicted();
                            written.left.push((call, trouble));
                        }
                    }
                }
            }
            if next.is_empty() {
                return written;
            }
            calls = next;
        }
        written.left.extend(calls.into_iter().map(|call| (call, self.topology.moving())));
        written
    }

    /// The work of each node that has one.
    fn by_node(
        &self,
        calls: Vec<Call>,
        written: &mut Written,
    ) -> Vec<impl Future<Output = (Arc<Node>, Vec<(Call, Verdict)>)>> {
        let mut work: Vec<(Arc<Node>, Vec<Call>)> = Vec::new();
        for call in calls {
            let node = call.ask.clone().map_or_else(|| self.topology.owner(call.slot), Ok);
            match node {
                // Slots come in order, so the owner is most often the one before.
                Ok(node) => match work.iter_mut().rev().find(|(known, _)| Arc::ptr_eq(known, &node)) {
                    Some((_, calls)) => calls.push(call),
                    None => work.push((node, vec![call])),
                },
                Err(trouble) => {
                    self.topology.contradicted();
                    written.left.push((call, trouble));
                }
            }
        }
        work.into_iter().map(|(node, calls)| self.at_node(node, calls)).collect()
    }

    async fn at_node(&self, node: Arc<Node>, calls: Vec<Call>) -> (Arc<Node>, Vec<(Call, Verdict)>) {
        let mut verdicts = vec![None; calls.len()];
        let ended = match self.converse(&node, &calls, &mut verdicts).await {
            Ok(()) => None,
            // The map by now says which slots nobody has; the others' calls go on.
            Err(trouble) if trouble.kind == Kind::Unserved => Some(Verdict::Elsewhere(Redirection::Moved)),
            Err(trouble) => Some(Verdict::Failed(trouble)),
        };
        let moving = || Verdict::Failed(self.topology.moving());
        let verdicts = verdicts.into_iter().map(|verdict| verdict.or_else(|| ended.clone()).unwrap_or_else(moving));
        let verdicts = calls.into_iter().zip(verdicts).collect();
        (node, verdicts)
    }

    /// Sends calls to a node, over a new connection where the node had closed the one that was free.
    async fn converse(&self, node: &Node, calls: &[Call], verdicts: &mut [Option<Verdict>]) -> Result<(), Trouble> {
        let mut session = node.session().await?;
        loop {
            // A new connection may be to a server that was started anew.
            self.topology.ensure_layout().await?;
            let mut done = self.exchange(&mut session, calls, verdicts).await;
            if done.is_ok() {
                done = self.wait(&mut session, calls, verdicts).await;
            }
            let Err(trouble) = done else { break };
            if self.wait_replicas > 0 {
                // What this connection brought there and was not waited for is what a failover could lose.
                verdicts.iter_mut().filter(|verdict| is_done(verdict)).for_each(|verdict| *verdict = None);
            }
            if !(session.reused && trouble.kind == Kind::Ended) {
                return Err(trouble);
            }
            session = node.open().await?;
        }
        node.give_back(session);
        Ok(())
    }

    /// Sends every call that has no verdict yet and reads what is answered. An error is one of the
    /// connection; of the server, after which nothing more is sent but what is under way is waited for.
    async fn exchange(
        &self,
        session: &mut Session,
        calls: &[Call],
        verdicts: &mut [Option<Verdict>],
    ) -> Result<(), Trouble> {
        for _ in 0..2 {
            let open: Vec<usize> = (0..calls.len()).filter(|at| verdicts[*at].is_none()).collect();
            if open.is_empty() {
                break;
            }
            if !self.pass(session, calls, &open, verdicts).await? {
                break;
            }
            // The server was restarted, or someone flushed its scripts.
            session.forget_script();
        }
        Ok(())
    }

    /// One pass over calls; whether the server lacked the script for some.
    async fn pass(
        &self,
        session: &mut Session,
        calls: &[Call],
        open: &[usize],
        verdicts: &mut [Option<Verdict>],
    ) -> Result<bool, Trouble> {
        let digest = session.script().await?;
        let session = &*session;
        // What is under way at once; closed, nothing more is sent.
        let room = Semaphore::new(self.window as usize);
        let send = async |at: usize| {
            let call = &calls[at];
            let _place = room.acquire_many(call.weight().min(self.window)).await.ok()?;
            let rows = self.plan.rows(call);
            let arguments = layout::call(digest.clone(), &self.topology.link.prefix, rows, self.now);
            Some((at, session.send(call.ask.is_some(), "EVALSHA", arguments).await))
        };
        let mut answers: FuturesUnordered<_> = open.iter().map(|at| send(*at)).collect();
        let mut stop = None;
        let mut lacked_script = false;
        while let Some(answer) = answers.next().await {
            let Some((at, answer)) = answer else { continue };
            let verdict = match answer {
                Err(error) if error.details().starts_with("NOSCRIPT") => {
                    lacked_script = true;
                    continue;
                }
                answer => self.verdict(session, &calls[at], answer),
            };
            if let Verdict::Failed(trouble) = &verdict {
                // The connection ended before this call was answered, so it may be sent again. The library ends
                // it when nobody has a call's slot, and gives that answer to the calls behind it too.
                let unanswered = match trouble.kind {
                    Kind::Away | Kind::Ended => true,
                    Kind::Unserved => stop.is_some(),
                    _ => false,
                };
                room.close();
                stop.get_or_insert(trouble.clone());
                if unanswered {
                    continue;
                }
            }
            verdicts[at] = Some(verdict);
        }
        stop.map_or(Ok(lacked_script), Err)
    }

    fn verdict(&self, session: &Session, call: &Call, answer: Result<Value, Error>) -> Verdict {
        let error = match answer {
            Ok(Value::Array(reply)) => match Answer::read(&reply) {
                Some(answer) => return self.judged(session, call, answer),
                None => return Verdict::Failed(Trouble::unexpected(&session.name, "neither counts nor errors")),
            },
            Ok(_) => return Verdict::Failed(Trouble::unexpected(&session.name, "no list")),
            Err(error) => error,
        };
        if self.topology.clustered {
            if let Some(redirection) = Redirection::read(error.details(), &session.host) {
                return Verdict::Elsewhere(redirection);
            }
            if error.details().starts_with("TRYAGAIN") {
                return Verdict::Divided;
            }
        }
        Verdict::Failed(Trouble::of(&session.name, &error))
    }

    /// An error on one entity that is no verdict on it is one on the call: the rest of it is written again.
    fn judged(&self, session: &Session, call: &Call, answer: Answer) -> Verdict {
        if let Some((_, error)) = answer.failed.iter().find(|(_, error)| !is_of_the_row(error)) {
            return Verdict::Failed(Trouble::of_answer(&session.name, error));
        }
        if answer.failed.iter().any(|(place, _)| *place >= call.len()) {
            return Verdict::Failed(Trouble::unexpected(&session.name, "an entity that was not sent"));
        }
        Verdict::Done(answer)
    }

    /// Waits for replicas, where that is asked for and anything was written.
    async fn wait(&self, session: &mut Session, calls: &[Call], verdicts: &[Option<Verdict>]) -> Result<(), Trouble> {
        match verdicts.iter().position(is_done).filter(|_| self.wait_replicas > 0) {
            Some(at) => replicas::wait(session, self.topology, &calls[at], self.wait_replicas).await,
            None => Ok(()),
        }
    }
}

#[expect(clippy::ref_option, reason = "it is what iterating over verdicts gives")]
fn is_done(verdict: &Option<Verdict>) -> bool {
    matches!(verdict, Some(Verdict::Done(_)))
}
