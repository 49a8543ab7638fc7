//! What can be done with a plan, whatever its rows are: look at it, try a message on it, start it.

use async_trait::async_trait;

use super::doubles::Repetition;
use super::guarantee::Kept;
use super::plan::{Plan, Reads};
use super::preview::{Preview, Shown};
use super::start::{self, Start, StartError};
use super::tried::{self, Unfit};
use crate::config::settings::StoreSettings;
use crate::message::Message;
use crate::runtime::{Policy, Run};
use crate::sink::Row;

/// A [`Plan`] whose row type no longer shows.
#[async_trait]
pub trait AnyPlan: Send + Sync {
    /// Where its messages come from.
    fn reads(&self) -> &Reads;

    /// Its destinations, by name, in the order of a [`Preview`]'s; with settings those that are stores.
    fn destinations(&self) -> Vec<(&str, Option<&StoreSettings>)>;

    /// What a message would write, without writing it.
    fn preview(&self, message: &Message) -> Preview;

    /// Limits and times that it keeps to.
    fn policy(&self) -> &Policy;

    /// Where its dead letters go.
    fn dead_letter_topic(&self) -> Option<&str>;

    /// What its guarantees depend on, destination by destination.
    async fn kept(&self) -> Vec<Kept>;

    /// Those of its destinations that hold a row twice after a repetition, each with a word of doubt where its secret
    /// is not here to tell.
    async fn doubling(&self, repetition: Repetition) -> Vec<String>;

    /// Whether a start would get beyond its stores' secrets and settings by now, found out without one.
    async fn try_out(&self) -> Result<(), Unfit>;

    /// Fetches secrets, opens stores, checks topics and subscribes.
    ///
    /// A bus that is away is asked again until it answers or `shutdown` is cancelled.
    async fn start(self: Box<Self>, with: Start) -> Result<Box<dyn Run>, StartError>;
}

#[async_trait]
impl<R: Row + Shown> AnyPlan for Plan<R> {
    fn reads(&self) -> &Reads {
        &self.reads
    }

    fn destinations(&self) -> Vec<(&str, Option<&StoreSettings>)> {
        self.destinations.iter().map(|planned| (planned.name.as_str(), planned.store())).collect()
    }

    fn preview(&self, message: &Message) -> Preview {
        Preview::of(&*self.decoder, &self.destinations, message)
    }

    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn dead_letter_topic(&self) -> Option<&str> {
        self.dead_letter_topic.as_deref()
    }

    async fn kept(&self) -> Vec<Kept> {
        let mut all = Vec::with_capacity(self.destinations.len());
        for planned in &self.destinations {
            all.push(Kept::of(planned).await);
        }
        all
    }

    async fn doubling(&self, repetition: Repetition) -> Vec<String> {
        let doubling = |kept: Kept| match kept.doubles {
            Ok(doubles) => doubles.after(repetition).then_some(kept.name),
            Err(error) => Some(format!("{} (perhaps: {error})", kept.name)),
        };
        self.kept().await.into_iter().filter_map(doubling).collect()
    }

    async fn try_out(&self) -> Result<(), Unfit> {
        tried::try_out(self).await
    }

    async fn start(self: Box<Self>, with: Start) -> Result<Box<dyn Run>, StartError> {
        start::start(*self, with).await
    }
}
