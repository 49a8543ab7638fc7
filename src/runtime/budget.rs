//! The dead letter budget: when too many messages are bad, it is not the messages.

use std::collections::VecDeque;

use super::DeadLetterBudget;

/// The share of bad messages is judged over at least this many.
const WINDOW: usize = 100;

/// What has been buried lately.
#[derive(Debug)]
pub(super) struct Budget {
    limits: DeadLetterBudget,
    /// Messages and burials per batch, oldest first; without the oldest there are fewer than [`WINDOW`] messages.
    recent: VecDeque<(usize, usize)>,
    in_a_row: u64,
}

impl Budget {
    pub(super) fn new(limits: DeadLetterBudget) -> Self {
        Self { limits, recent: VecDeque::new(), in_a_row: 0 }
    }

    /// Judges a batch before any of its burials is published: `bad` says of each message, in
    /// order, whether it is to be buried. An error is a sentence for people.
    pub(super) fn judge(&mut self, bad: impl Iterator<Item = bool>) -> Result<(), String> {
        let (mut messages, mut burials) = (0, 0);
        for bad in bad {
            messages += 1;
            if bad {
                burials += 1;
                self.in_a_row += 1;
                if self.in_a_row > self.limits.max_consecutive {
                    return Err(format!(
                        "more than {} messages in a row are bad (`dlq.max_consecutive`)",
                        self.limits.max_consecutive
                    ));
                }
            } else {
                self.in_a_row = 0;
            }
        }
        // Of a batch that was parked whole nothing is known.
        if messages > 0 {
            self.recent.push_back((messages, burials));
        }
        let (mut messages, mut burials) =
            self.recent.iter().fold((0, 0), |(messages, burials), batch| (messages + batch.0, burials + batch.1));
        while let Some(oldest) = self.recent.front()
            && messages - oldest.0 >= WINDOW
        {
            messages -= oldest.0;
            burials -= oldest.1;
            self.recent.pop_front();
        }
        if messages >= WINDOW && burials as f64 > self.limits.max_ratio * messages as f64 {
            return Err(format!(
                "{burials} of the last {messages} messages are bad, more than {} (`dlq.max_ratio`)",
                self.limits.max_ratio
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(max_ratio: f64, max_consecutive: u64) -> Budget {
        Budget::new(DeadLetterBudget { max_ratio, max_consecutive })
    }

    fn batch(messages: usize, bad: usize) -> impl Iterator<Item = bool> {
        (0..messages).map(move |at| at < bad)
    }

    #[test]
    fn few_messages_are_not_judged_by_their_share() {
        let mut budget = budget(0.1, 1000);
        assert_eq!(budget.judge(batch(99, 99)), Ok(()));
        assert!(budget.judge(batch(1, 0)).is_err());
    }

    #[test]
    fn the_share_is_that_of_the_latest_messages() {
        let mut budget = budget(0.1, 1000);
        assert_eq!(budget.judge(batch(10_000, 1000)), Ok(()));
        assert_eq!(budget.judge(batch(100, 10)), Ok(()));
        let error = budget.judge(batch(100, 11)).expect_err("eleven in a hundred");
        assert_eq!(error, "11 of the last 100 messages are bad, more than 0.1 (`dlq.max_ratio`)");
    }

    #[test]
    fn bad_messages_in_a_row_are_counted_over_batches() {
        let mut budget = budget(1.0, 5);
        assert_eq!(budget.judge([false, true, true, true].into_iter()), Ok(()));
        assert_eq!(budget.judge([true, true, false].into_iter()), Ok(()));
        assert_eq!(budget.judge(batch(5, 5)), Ok(()));
        assert!(budget.judge(batch(1, 1)).is_err());
    }
}
