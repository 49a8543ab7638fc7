//! What an issuer gave, for all clients of this process: one that is made anew need not ask, and while the issuer is away
//! it is let in as the one before it was.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::asked::Asked;
use super::grant::Grant;
use crate::config::secret::SecretRef;

/// Of its time a token may be used up by so much and is handed over without asking. Clients ask again once four fifths are,
/// which is when another one is wanted.
const FRESH: f64 = 0.7;

/// The last token for one question.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<Option<Given>>);

#[derive(Clone, Debug)]
struct Given {
    grant: Grant,
    at: SystemTime,
    refused: bool,
}

/// A question, and what it was answered with.
type Entry = (Asked, SecretRef, Arc<Known>);

/// By what is asked, and with which secret. There are hardly ever two.
static ALL: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

/// What is known of one question, wherever in this process it was asked.
pub(super) fn known(asked: &Asked, secret: &SecretRef) -> Arc<Known> {
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((.., known)) = all.iter().find(|(one, with, _)| one == asked && with == secret) {
        return Arc::clone(known);
    }
    let known = Arc::<Known>::default();
    all.push((asked.clone(), secret.clone(), Arc::clone(&known)));
    known
}

impl Known {
    /// One that nobody has refused, and that is not to be renewed yet.
    pub(super) fn fresh(&self) -> Option<Grant> {
        let given = self.lock().clone().filter(|given| !given.refused)?;
        let whole = given.grant.ends.duration_since(given.at).ok()?;
        // A clock that was set back makes nothing fresh.
        let used = given.at.elapsed().ok()?;
        (used < whole.mul_f64(FRESH)).then_some(given.grant)
    }

    /// The last one, whatever became of it.
    pub(super) fn last(&self) -> Option<Grant> {
        self.lock().as_ref().map(|given| given.grant.clone())
    }

    pub(super) fn put(&self, grant: Grant) {
        *self.lock() = Some(Given { grant, at: SystemTime::now(), refused: false });
    }

    /// It was refused. Where the issuer does not answer it is shown again all the same: who is refused may be so for another
    /// reason.
    pub(super) fn forget(&self) {
        if let Some(given) = &mut *self.lock() {
            given.refused = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Given>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn asked(scope: &str) -> Asked {
        let endpoint = url::Url::parse("https://cache.example.com/token").unwrap();
        Asked { endpoint, client_id: None, scope: Some(scope.to_owned()), authorities: None }
    }

    fn grant(text: &str) -> Grant {
        let ends = SystemTime::now() + Duration::from_secs(3600);
        Grant { token: text.into(), principal: text.to_owned(), ends }
    }

    #[test]
    fn all_clients_that_ask_the_same_share_a_token_and_others_do_not() {
        let secret = SecretRef::plain("{}");
        let known = known(&asked("a"), &secret);
        known.put(grant("one"));
        let fresh = |scope, secret| super::known(&asked(scope), secret).fresh().map(|grant| grant.principal);
        assert_eq!(fresh("a", &secret), Some("one".to_owned()));
        assert_eq!((fresh("b", &secret), fresh("a", &SecretRef::plain("[]"))), (None, None));
    }

    #[test]
    fn one_that_was_refused_or_is_to_be_renewed_is_not_fresh() {
        let known = Known::default();
        known.put(grant("one"));
        known.forget();
        assert!(known.fresh().is_none() && known.last().is_some());
        known.put(grant("two"));
        assert!(known.fresh().is_some());
        known.lock().as_mut().unwrap().at -= Duration::from_secs(4 * 3600);
        assert!(known.fresh().is_none());
    }
}
