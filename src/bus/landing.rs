//! What became of messages that were published together.

use super::BusError;
use crate::message::Partition;

/// Where a published message landed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The partition.
    pub partition: Partition,
    /// Its offset there.
    pub offset: i64,
}

/// What became of one message.
pub type Landing = Result<Placed, BusError>;

/// Not every message of a publish landed: what became of each.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Undelivered {
    landings: Vec<Landing>,
    reason: BusError,
}

impl Undelivered {
    /// None of so many landed, or none is known to have.
    pub fn all(reason: BusError, messages: usize) -> Self {
        Self { landings: vec![Err(reason.clone()); messages], reason }
    }

    /// Why not all did. Of several reasons one that may pass is told before a verdict on a message, which is the same the next
    /// time.
    pub fn reason(&self) -> &BusError {
        &self.reason
    }

    /// What became of each, in the order in which they were published.
    pub fn landings(&self) -> &[Landing] {
        &self.landings
    }

    /// Of what was published, in its order, that which is still to be sent: the bus has the others for good.
    pub fn left<T>(&self, published: Vec<T>) -> Vec<T> {
        let mut landings = self.landings.iter();
        published.into_iter().filter(|_| !landings.next().is_some_and(Landing::is_ok)).collect()
    }
}

impl From<Undelivered> for BusError {
    fn from(undelivered: Undelivered) -> Self {
        undelivered.reason
    }
}

/// Where all of them landed; what became of each where one did not.
pub fn all_landed(landings: Vec<Landing>) -> Result<Vec<Placed>, Undelivered> {
    let failed = || landings.iter().filter_map(|landing| landing.as_ref().err());
    let reason = failed().find(|error| !error.is_verdict()).or_else(|| failed().next()).cloned();
    match reason {
        Some(reason) => Err(Undelivered { landings, reason }),
        None => Ok(landings.into_iter().flatten().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_landed_is_not_left_and_what_may_pass_is_told_before_what_never_does() {
        let placed = |offset| Placed { partition: Partition { topic: "t".into(), number: 0 }, offset };
        assert_eq!(all_landed(vec![Ok(placed(0)), Ok(placed(1))]).expect("all"), [placed(0), placed(1)]);
        let (large, away) = (BusError::TooLarge("x".to_owned()), BusError::Unavailable("x".to_owned()));
        let some = all_landed(vec![Err(large.clone()), Ok(placed(0)), Err(away)]).expect_err("two did not");
        assert!(matches!(some.reason(), BusError::Unavailable(_)));
        assert_eq!(some.left(vec!["a", "b", "c"]), ["a", "c"]);
        let one = all_landed(vec![Ok(placed(0)), Err(large)]).expect_err("one did not");
        assert!(matches!(BusError::from(one), BusError::TooLarge(_)));
    }
}
