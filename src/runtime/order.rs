//! The order in which batches were cut, for what is done one after the other though they are written at once.
//!
//! A batch that is cancelled leaves its place; whoever stood behind it waits for those before it as before.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

/// Who stands in line.
#[derive(Debug, Default)]
pub(super) struct Order {
    line: Arc<watch::Sender<BTreeSet<u64>>>,
    next: u64,
}

/// A place in the line, left when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    line: Arc<watch::Sender<BTreeSet<u64>>>,
    number: u64,
}

impl Order {
    /// A place behind everyone.
    pub(super) fn place(&mut self) -> Place {
        let number = self.next;
        self.next += 1;
        self.line.send_modify(|line| {
            line.insert(number);
        });
        Place { line: self.line.clone(), number }
    }
}

impl Place {
    /// Waits until nobody stands before it.
    pub(super) async fn first(&self) {
        // An error would mean that the line is gone, which this place keeps.
        let _ = self.line.subscribe().wait_for(|line| line.first() == Some(&self.number)).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.line.send_modify(|line| {
            line.remove(&self.number);
        });
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn whoever_leaves_from_the_middle_lets_nobody_pass() {
        let mut order = Order::default();
        let [one, two, three] = [order.place(), order.place(), order.place()];
        let is_first = |place: &Place| place.first().now_or_never().is_some();
        drop(two);
        assert!(is_first(&one) && !is_first(&three));
        drop(one);
        assert!(is_first(&three));
    }
}
