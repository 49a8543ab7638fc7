//! The tables of one result, counted row by row or column by column.

use super::cells::Seen;
use super::features::Features;
use super::layout::{Layout, Target};
use crate::decode::Decoded;
use crate::result::arrow::Budget;
use crate::result::{EntityRow, FeatureTable, TableBody};
use crate::row::contribution::Contribution;
use crate::sink::{ErrorClass, Refusal};
use crate::writer::layouts::Layouts;
use crate::writer::{entity, skip};
use bytestring::ByteString;

/// One result while its tables are counted.
pub(super) struct Tables<'a> {
    pub(super) layouts: &'a Layouts<Layout>,
    /// When the query came in, microseconds since 1970.
    pub(super) event_time: i64,
    /// What its tables in Arrow form may still take.
    pub(super) budget: Budget,
    pub(super) features: Features,
}

impl Tables<'_> {
    /// Counts a table.
    pub(super) fn table(&mut self, table: FeatureTable, decoded: &mut Decoded<Contribution>) {
        let FeatureTable { namespace, body } = table;
        if namespace.is_empty() {
            return decoded.refuse(entity::no_namespace(&body));
        }
        let (columns, rows) = match body {
            TableBody::Rows { columns, rows } => (columns, rows),
            TableBody::Arrow(ipc) => return self.arrow(&namespace, &ipc, decoded),
        };
        let layout = self.layouts.get(&namespace, &columns, columns.list(), || Layout::new(&namespace, &columns));
        let places = match self.places(&layout, &columns) {
            Ok(places) => places,
            Err(refusal) => return decoded.refuse(refusal.table(&namespace)),
        };
        for (at, row) in rows.into_iter().enumerate() {
            let id = row.id.clone();
            if let Err(refusal) = self.row(&layout, &places, row, decoded) {
                decoded.refuse(entity::at_row(refusal, &namespace, &id, at));
            }
        }
    }

    /// The places of the features among the columns.
    pub(super) fn places(&mut self, layout: &Layout, columns: &[ByteString]) -> Result<Vec<Option<usize>>, Refusal> {
        let place = |(target, name): (&Target, &ByteString)| match target {
            Target::Count => self.features.place(name, &mut self.budget).map(Some),
            Target::Time | Target::Skip | Target::Refuse(_) => Ok(None),
        };
        layout.columns.iter().zip(columns).map(place).collect()
    }

    fn row(
        &mut self,
        layout: &Layout,
        places: &[Option<usize>],
        row: EntityRow,
        decoded: &mut Decoded<Contribution>,
    ) -> Result<(), Refusal> {
        if let Some(fault) = row.fault {
            return Err(Refusal::new(ErrorClass::Decode, fault));
        }
        entity::primary_key(&row.id)?;
        entity::each_column_once(&row.cells)?;
        let own_time = entity::time_of(&layout.times, &row.cells)?.or(row.observed_at);
        let age = own_time.map(|time| self.event_time.saturating_sub(time));
        for cell in &row.cells {
            match (layout.columns.get(cell.column), places.get(cell.column)) {
                (Some(Target::Count), Some(Some(place))) => {
                    let resolver = cell.source_id.as_deref();
                    self.features.at(*place).add(Seen::of(&cell.value), cell.source, resolver, age);
                }
                (Some(Target::Refuse(reason)), _) => return Err(Refusal::new(ErrorClass::Decode, reason.as_str())),
                (Some(Target::Skip), _) => decoded.skip(skip::METADATA, 1),
                (Some(Target::Time), _) => {}
                _ => return Err(entity::no_column(cell.column)),
            }
        }
        Ok(())
    }
}
