//! What can be done with a plan, whatever its rows are: look at it, try a message on it, start it.

use async_trait::async_trait;

use super::destinations::{PlannedDestination, To};
use super::plan::{Plan, Reads};
use super::preview::{Preview, Shown};
use super::start::{self, Start, StartError};
use crate::config::secret::expose;
use crate::config::settings::StoreSettings;
use crate::message::Message;
use crate::runtime::Run;
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

    /// Those of its destinations that hold a row twice where it is written twice, each with a word of doubt where
    /// its secret is not here to tell.
    async fn doubling(&self) -> Vec<String>;

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

    async fn doubling(&self) -> Vec<String> {
        let mut doubling = Vec::new();
        for PlannedDestination { name, to } in &self.destinations {
            let absorbs = match to {
                To::Topic(_) => Ok(false),
                To::Store(store) => match store.settings.uri.fetch().await {
                    Ok(uri) => store.absorbs_repeats(expose(&uri)).map_err(|error| error.to_string()),
                    Err(error) => Err(error.to_string()),
                },
            };
            match absorbs {
                Ok(true) => {}
                Ok(false) => doubling.push(name.clone()),
                Err(error) => doubling.push(format!("{name} (perhaps: {error})")),
            }
        }
        doubling
    }

    async fn start(self: Box<Self>, with: Start) -> Result<Box<dyn Run>, StartError> {
        start::start(*self, with).await
    }
}
