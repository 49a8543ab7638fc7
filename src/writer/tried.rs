//! Whether a plan could be started, found out beside another one that is at work: what names a secret may be described
//! before the secret is there.

use futures::future::join_all;

use super::destinations::{Opener, PlannedDestination, To};
use super::plan::Plan;
use crate::config::secret::{Trouble, expose};
use crate::sink::Row;
use crate::store::{StoreLimits, StoreOptions};

/// Why a plan could not be started now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Whether rights are missing.
    pub denied: bool,
    /// Which destinations, and why.
    pub text: String,
}

/// Reads the secrets of its stores and opens each as a start does. Contacts no store.
pub(super) async fn try_out<R: Row>(plan: &Plan<R>) -> Result<(), Unfit> {
    // Side by side: a manager that hangs takes its time once.
    let tried = join_all(plan.destinations.iter().map(|planned| opens(planned, plan.store_limits))).await;
    let found = tried.into_iter().filter_map(Result::err).reduce(|one, other| Unfit {
        denied: one.denied || other.denied,
        text: format!("{}; {}", one.text, other.text),
    });
    found.map_or(Ok(()), Err)
}

async fn opens<R: Row>(planned: &PlannedDestination<R>, limits: StoreLimits) -> Result<(), Unfit> {
    let To::Store(store) = &planned.to else { return Ok(()) };
    let unfit = |denied, why: &dyn std::fmt::Display| Unfit { denied, text: format!("{}: {why}", planned.name) };
    let options = StoreOptions::fetch(&store.settings, limits).await;
    let options = options.map_err(|error| unfit(error.trouble == Trouble::Denied, &error))?;
    let opened = match store.open {
        Opener::Store(open) => open(&options).map(drop),
        // What publishes has no topic to publish to here; its URI is read.
        Opener::Publishing(_) => store.doubles(expose(&options.fetched)).map(drop),
    };
    opened.map_err(|error| {
        // A manager would have to wait otherwise until somebody else doubts it.
        store.settings.uri.doubt();
        unfit(false, &error)
    })
}
