//! The series of one result while they are counted: each once, in the order in which they came up.

use hashbrown::HashMap;

use crate::row::contribution::{Measure, Series};

/// Series with what was counted of them.
#[derive(Debug, Default)]
pub(super) struct Partials {
    places: HashMap<Series, usize>,
    counted: Vec<(Series, Measure)>,
}

impl Partials {
    /// Adds to a sum; nothing is no series.
    pub(super) fn count(&mut self, series: Series, more: i128) {
        if more != 0
            && let Measure::Sum(sum) = self.measure(series, Measure::Sum(0))
        {
            *sum += more;
        }
    }

    /// Adds values, all of them finite, and nulls to a distribution.
    pub(super) fn values(&mut self, series: Series, mut more: Vec<f64>, more_nulls: u64) {
        if more.is_empty() && more_nulls == 0 {
            return;
        }
        if let Measure::Values { values, nulls } =
            self.measure(series, Measure::Values { values: Vec::new(), nulls: 0 })
        {
            values.append(&mut more);
            *nulls += more_nulls;
        }
    }

    pub(super) fn finish(self) -> Vec<(Series, Measure)> {
        self.counted
    }

    /// What was counted of a series; a name is only ever that of sums or that of distributions.
    fn measure(&mut self, series: Series, new: Measure) -> &mut Measure {
        let Self { places, counted } = self;
        let at = *places.entry(series.clone()).or_insert_with(|| {
            counted.push((series, new));
            counted.len() - 1
        });
        &mut counted[at].1
    }
}
