//! Tables in Arrow form: their columns, as far as this environment stores them, as cells of rows. What
//! holds for rows in row form holds for these from there on.

use bytes::Bytes;
use bytestring::ByteString;

use super::decode::Context;
use super::features::Column;
use crate::decode::Decoded;
use crate::result::arrow::Budget;
use crate::result::{self, EntityRow};
use crate::row::feature::FeatureRow;
use crate::sink::Refusal;

impl Context<'_> {
    /// The columns and rows of a table; columns that are left out are counted, and not read.
    pub(super) fn arrow(
        &self,
        namespace: &str,
        ipc: &Bytes,
        decoded: &mut Decoded<FeatureRow>,
    ) -> Result<(Vec<ByteString>, Vec<EntityRow>), Refusal> {
        let mut budget = self.budget.get();
        let read = self.within(&mut budget, namespace, ipc, decoded);
        self.budget.set(budget);
        read
    }

    fn within(
        &self,
        budget: &mut Budget,
        namespace: &str,
        ipc: &Bytes,
        decoded: &mut Decoded<FeatureRow>,
    ) -> Result<(Vec<ByteString>, Vec<EntityRow>), Refusal> {
        let table = result::arrow::table(ipc, budget)?;
        let columns = table.columns().to_vec();
        let layout = self.environment.entry.layout(namespace, &columns, None);
        let rows = table.entities(|at| !matches!(layout.columns.get(at), Some(Column::Skip(_))), budget)?;
        for column in layout.columns.iter().filter(|_| !rows.is_empty()) {
            if let Column::Skip(reason) = column {
                decoded.skip(reason, rows.len() as u64);
            }
        }
        Ok((columns, rows))
    }
}
