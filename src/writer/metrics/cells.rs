//! The values of one feature in one result, counted by all that its series ask for.
//!
//! Rows and columns both end here, so that a table gives the same series in either form.

use std::collections::BTreeMap;

use bytestring::ByteString;

use crate::result::Source;
use crate::value::Value;

/// What is to be known of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Seen {
    /// There is none.
    Null,
    /// A number.
    Number(f64),
    /// A list of structs: what a has-many feature has.
    Many,
    /// Anything else.
    Other,
}

/// One feature of one result.
#[derive(Debug, Default)]
pub(super) struct Cells {
    /// How many values there are from a source that are null, one or many.
    counts: [[u64; 3]; 7],
    /// Numbers, all of them finite.
    pub(super) values: Vec<f64>,
    /// Numbers that are not.
    pub(super) not_numbers: u64,
    /// Seconds between the time of a stored value and the query.
    pub(super) staleness: Vec<f64>,
    /// By resolver: how many of its values are computed or written.
    pub(super) resolvers: BTreeMap<Option<ByteString>, OfResolver>,
}

/// What a resolver did for a feature.
#[derive(Debug, Default)]
pub(super) struct OfResolver {
    /// It computed a value, rather than that one was found.
    pub(super) computed: bool,
    /// Values that go into the online store.
    pub(super) written: u64,
}

/// The shapes that values are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Null,
    One,
    Many,
}

impl Seen {
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            // Beyond 2^53 as near as a double comes, as everything that is a distribution.
            Value::Int(number) => Self::Number(*number as f64),
            Value::Double(number) => Self::Number(*number),
            Value::Decimal(digits) => digits.parse().map_or(Self::Other, Self::Number),
            Value::List(items) if items.iter().any(|item| matches!(item, Value::Struct(_))) => Self::Many,
            _ => Self::Other,
        }
    }
}

impl Cells {
    /// Adds a value that lies `age` microseconds before the query, where its row has a time of its own.
    pub(super) fn add(&mut self, seen: Seen, source: Source, resolver: Option<&ByteString>, age: Option<i64>) {
        let seen = if source == Source::Missing { Seen::Null } else { seen };
        let shape = match seen {
            Seen::Null => Shape::Null,
            Seen::Many => Shape::Many,
            Seen::Number(_) | Seen::Other => Shape::One,
        };
        self.counts[source as usize][shape as usize] += 1;
        match seen {
            Seen::Number(number) if number.is_finite() => self.values.push(number),
            Seen::Number(_) => self.not_numbers += 1,
            Seen::Null | Seen::Many | Seen::Other => {}
        }
        if is_stored(source)
            && let Some(age) = age
        {
            self.staleness.push(age.max(0) as f64 / 1e6);
        }
        let (computed, written) = (source == Source::Resolver, is_written(source));
        if computed || written {
            let of = match self.resolvers.get_mut(&resolver.cloned()) {
                Some(of) => of,
                None => self.resolvers.entry(resolver.cloned()).or_default(),
            };
            of.computed |= computed;
            of.written += u64::from(written);
        }
    }

    /// How many there are, by source and shape.
    pub(super) fn counts(&self) -> impl Iterator<Item = (Source, Shape, u64)> + '_ {
        let all = (0..7).flat_map(|source| [Shape::Null, Shape::One, Shape::Many].map(|shape| (source, shape)));
        let counts =
            all.map(|(source, shape)| (Source::numbered(source), shape, self.counts[source as usize][shape as usize]));
        counts.filter(|(_, _, count)| *count > 0)
    }

    /// How many nulls there are.
    pub(super) fn nulls(&self) -> u64 {
        self.counts.iter().map(|of_source| of_source[Shape::Null as usize]).sum()
    }
}

/// Whether values from a source were found in a store.
pub(super) fn is_stored(source: Source) -> bool {
    matches!(source, Source::OnlineStore | Source::OfflineStore)
}

/// Whether values from a source go into the online store: those that are not there yet, and that nobody gave.
fn is_written(source: Source) -> bool {
    matches!(source, Source::Unknown | Source::Resolver | Source::OfflineStore | Source::Default)
}
