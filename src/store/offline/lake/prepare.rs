//! Tables made for rows that somebody else will write: their schemas are agreed on, and no file is.

use async_trait::async_trait;
use hashbrown::HashMap;

use super::layout;
use super::plan::Piece;
use super::write::{Lake, by_table, unnameable};
use crate::row::table::TableRows;
use crate::sink::SinkError;
use crate::store::tables::prepare::{Form, Part, Prepared, PreparedTable, TableStore, Taken, columns};

#[async_trait]
impl TableStore for Lake {
    async fn prepare<'a>(&self, rows: &[&'a TableRows]) -> Result<Prepared<'a>, SinkError> {
        let index: HashMap<usize, usize> =
            rows.iter().enumerate().map(|(index, rows)| (address(rows), index)).collect();
        let mut prepared = Prepared::default();
        for (table, rows) in by_table(rows) {
            let Some(folder) = layout::segment(table) else {
                prepared.refused.extend(rows.iter().map(|(index, row)| (*index, unnameable(row))));
                continue;
            };
            let planned = self.ledger.agree(&self.files, table, &folder, &rows).await?;
            prepared.refused.extend(planned.refused);
            let taken: Vec<Taken<'a>> = planned
                .days
                .into_iter()
                .flat_map(|(_, pieces)| pieces)
                .map(|piece| match piece {
                    Piece::Row(row, _) => Taken { index: index[&std::ptr::from_ref(row).addr()], rows: Part::Row(row) },
                    Piece::Columns(columns, rows) => {
                        Taken { index: index[&std::ptr::from_ref(columns).addr()], rows: Part::Columns(columns, rows) }
                    }
                })
                .collect();
            if taken.is_empty() {
                continue;
            }
            let form = |name: &str| {
                let at = planned.schema.position(&layout::column(name))?;
                Some(Form::from(planned.schema.column_type(at).values()))
            };
            prepared.tables.push(PreparedTable { columns: columns(&taken, form), rows: taken });
        }
        Ok(prepared)
    }
}

/// Where a row, or a set of columns, is.
fn address(rows: &TableRows) -> usize {
    match rows {
        TableRows::Row(row) => std::ptr::from_ref(row).addr(),
        TableRows::Columns(columns) => std::ptr::from_ref(&**columns).addr(),
    }
}
