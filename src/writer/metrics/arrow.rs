//! Tables in Arrow form: counted column by column, and no value is made of what is only counted.

use arrow::array::types::{Float64Type, Int64Type};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType as Arrow;
use bytes::Bytes;
use bytestring::ByteString;

use super::cells::{OfResolver, Seen};
use super::layout::{Layout, Target};
use super::tables::Tables;
use crate::decode::Decoded;
use crate::result::Source;
use crate::result::arrow::{ArrowTable, Budget, Column, Faults};
use crate::row::contribution::Contribution;
use crate::sink::{ErrorClass, Refusal};
use crate::value::Value;
use crate::value::arrow::{heap, values};
use crate::writer::{entity, skip};

/// What a resolver takes beside its name.
const OF_RESOLVER: usize = 2 * size_of::<(Option<ByteString>, OfResolver)>();

/// What is wrong with a table as a whole; what is wrong with a row of it is told where it is found.
type Checked<T> = Result<T, Refusal>;

impl Tables<'_> {
    /// Counts a table in Arrow form.
    pub(super) fn arrow(&mut self, namespace: &str, ipc: &Bytes, decoded: &mut Decoded<Contribution>) {
        let counted = crate::result::arrow::table(ipc, &mut self.budget)
            .and_then(|table| self.columns(namespace, &table, decoded));
        if let Err(refusal) = counted {
            decoded.refuse(refusal.table(namespace));
        }
    }

    fn columns(&mut self, namespace: &str, table: &ArrowTable, decoded: &mut Decoded<Contribution>) -> Checked<()> {
        let (rows, names) = (table.rows(), table.columns());
        if rows == 0 {
            return Ok(());
        }
        let layout = self.layouts.get(namespace, names, None, || Layout::new(namespace, names));
        let ids = table.ids(&mut self.budget)?;
        let verdicts = Verdicts { namespace, ids: ids.array };
        verdicts.faults("__id__", ids.faults, decoded);
        verdicts.keys(decoded);
        let ages = self.ages(&layout, table, &verdicts, decoded)?;
        let places = self.places(&layout, names)?;
        for (at, target) in layout.columns.iter().enumerate() {
            match (target, places[at]) {
                (Target::Count, Some(place)) => {
                    let Column { array, faults } = table.column(at, &mut self.budget)?;
                    verdicts.faults(&names[at], faults, decoded);
                    let sources = table.sources(at, &mut self.budget)?;
                    let seen = seen(&array, &mut self.budget)?;
                    let cells = self.features.at(place);
                    for (row, age) in ages.iter().enumerate() {
                        let source = sources.as_ref().map_or(Source::Unknown, |sources| sources.sources[row]);
                        let resolver = sources.as_ref().and_then(|sources| sources.id(row));
                        let known = cells.resolvers.len();
                        cells.add(seen(row), source, resolver, *age);
                        if cells.resolvers.len() > known {
                            self.budget.take_rows(1, OF_RESOLVER)?;
                        }
                    }
                }
                (Target::Refuse(reason), _) => return Err(Refusal::new(ErrorClass::Decode, reason.as_str())),
                (Target::Skip, _) => decoded.skip(skip::METADATA, rows as u64),
                _ => {}
            }
        }
        Ok(())
    }

    /// How long before the query each row's own time lies, if a column has it.
    fn ages(
        &mut self,
        layout: &Layout,
        table: &ArrowTable,
        verdicts: &Verdicts<'_>,
        decoded: &mut Decoded<Contribution>,
    ) -> Checked<Vec<Option<i64>>> {
        self.budget.take_rows(table.rows(), size_of::<Option<i64>>())?;
        let mut ages = vec![None; table.rows()];
        for at in &layout.times {
            let Column { array, faults } = table.column(*at, &mut self.budget)?;
            verdicts.faults(&table.columns()[*at], faults, decoded);
            for (row, value) in taken_apart(&array, &self.budget)?.iter().enumerate() {
                match entity::time(value) {
                    Ok(time) => {
                        let age = time.map(|time| self.event_time.saturating_sub(time));
                        ages[row] = ages[row].or(age);
                    }
                    Err(refusal) => verdicts.at(row, refusal, decoded),
                }
            }
        }
        Ok(ages)
    }
}

/// What is to be known of each value of a column.
fn seen(array: &ArrayRef, budget: &mut Budget) -> Checked<Box<dyn Fn(usize) -> Seen>> {
    // A number is kept for the distribution of its feature.
    let numbers = |budget: &mut Budget| budget.take_rows(array.len(), size_of::<f64>());
    let or_null = |array: ArrayRef, seen: fn(&ArrayRef, usize) -> Seen| -> Box<dyn Fn(usize) -> Seen> {
        Box::new(move |row| if array.is_null(row) { Seen::Null } else { seen(&array, row) })
    };
    Ok(match array.data_type() {
        Arrow::Null => Box::new(|_| Seen::Null),
        Arrow::Int64 => {
            numbers(budget)?;
            or_null(array.clone(), |array, row| Seen::Number(array.as_primitive::<Int64Type>().value(row) as f64))
        }
        Arrow::Float64 => {
            numbers(budget)?;
            or_null(array.clone(), |array, row| Seen::Number(array.as_primitive::<Float64Type>().value(row)))
        }
        // Of these it shows only in the value what it is.
        Arrow::Decimal128(..) | Arrow::Decimal256(..) | Arrow::List(_) => {
            numbers(budget)?;
            let all: Vec<Seen> = taken_apart(array, budget)?.iter().map(Seen::of).collect();
            Box::new(move |row| all[row])
        }
        _ => or_null(array.clone(), |_, _| Seen::Other),
    })
}

/// The values of a column, which are gone again before the next column's.
fn taken_apart(array: &ArrayRef, budget: &Budget) -> Checked<Vec<Value>> {
    budget.lend_rows(array.len(), size_of::<Value>() + size_of::<Seen>())?;
    budget.lend_rows(heap(array), 1)?;
    Ok(values(array))
}

/// Verdicts on the rows of a table, which name them by their keys.
struct Verdicts<'a> {
    namespace: &'a str,
    ids: ArrayRef,
}

/// More are read by nobody, and each takes memory.
const MOST: usize = 1_000;

impl Verdicts<'_> {
    fn at(&self, row: usize, refusal: Refusal, decoded: &mut Decoded<Contribution>) {
        if decoded.refused.len() < MOST {
            let id = values(&self.ids.slice(row, 1)).pop().unwrap_or(Value::Null);
            decoded.refuse(entity::at_row(refusal, self.namespace, &id, row));
        }
    }

    fn faults(&self, column: &str, faults: Faults, decoded: &mut Decoded<Contribution>) {
        for (row, fault) in faults.into_iter().take(MOST) {
            self.at(row, Refusal::new(ErrorClass::Decode, format!("`{column}`: {fault}")), decoded);
        }
    }

    /// A row without a key, or with one that cannot be one, is of nobody.
    fn keys(&self, decoded: &mut Decoded<Contribution>) {
        let of_keys = matches!(self.ids.data_type(), Arrow::Int64 | Arrow::Utf8);
        let without = (0..self.ids.len()).filter(|row| !of_keys || self.ids.is_null(*row));
        for row in without.take(MOST) {
            if let Err(refusal) = entity::primary_key(&Value::Null) {
                self.at(row, refusal, decoded);
            }
        }
    }
}
