//! Verdicts on the rows of a table in Arrow form: of each row the first, as many as there is room for.

use std::collections::BTreeMap;

use crate::result::arrow::{Budget, Faults};
use crate::sink::{ErrorClass, Refusal};

/// The first verdict on each row that has one.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    first: BTreeMap<usize, Refusal>,
    /// Why there is no room for more: the table is refused as a whole.
    full: Option<Refusal>,
}

impl Verdicts {
    pub(super) fn of(&self, row: usize) -> bool {
        self.first.contains_key(&row)
    }

    /// Adds one, unless the row has one already.
    pub(super) fn add(&mut self, row: usize, refusal: Refusal, budget: &mut Budget) {
        if self.full.is_some() || self.of(row) {
            return;
        }
        // Once more for its place among the verdicts on the message, with the names of row and table.
        let bytes = 2 * size_of::<(usize, Refusal)>() + refusal.message.len();
        match budget.take_rows(1, bytes) {
            Ok(()) => drop(self.first.insert(row, refusal)),
            Err(full) => self.full = Some(full),
        }
    }

    pub(super) fn add_faults(&mut self, column: &str, faults: Faults, budget: &mut Budget) {
        for (row, fault) in faults {
            self.add(row, Refusal::new(ErrorClass::Decode, format!("`{column}`: {fault}")), budget);
        }
    }

    /// Whether there was room for all of them so far.
    pub(super) fn check(&mut self) -> Result<(), Refusal> {
        self.full.take().map_or(Ok(()), Err)
    }

    pub(super) fn into_rows(self) -> BTreeMap<usize, Refusal> {
        self.first
    }
}
