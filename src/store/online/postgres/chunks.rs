//! Rows cut into the arrays of single statements, in the order of the table's key: writers that touch
//! the same rows lock them in one order, and so never wait for one another in a circle.

use tokio_postgres::types::{ToSql, Type};

use super::super::merge;
use crate::row::feature::{FeatureCell, FeatureRow};
use crate::sink::{ErrorClass, Refusal};
use crate::store::postgres::{LONGEST_KEY, binary};
use crate::value::{Value, jsonb};

/// Values in one statement: enough that its own cost is small, few enough that its locks are soon gone.
const VALUES: usize = 5_000;

/// Bytes of values in one statement, though a single larger value is still sent alone.
const BYTES: usize = 8 * 1024 * 1024;

/// What `jsonb` can hold, less what it adds.
const LARGEST: usize = merge::LARGEST_VALUE - 64 * 1024;

/// Values whose text may be larger than [`LARGEST`] are written once more to see.
const WORTH_A_LOOK: usize = LARGEST / 32;

/// The first byte of a `jsonb` on its way.
const VERSION: u8 = 1;

/// Values of one statement, as its seven parameters.
pub(super) struct Cells {
    columns: [binary::Array; 7],
    pub(super) count: u64,
    bytes: usize,
}

/// What is sent at once: values, and those that had expired when they came.
#[derive(Default)]
pub(super) struct Chunk {
    pub(super) live: Cells,
    pub(super) expired: Cells,
}

impl Default for Cells {
    fn default() -> Self {
        let text = || binary::Array::of(Type::TEXT);
        let time = || binary::Array::of(Type::TIMESTAMPTZ);
        let columns = [text(), text(), text(), text(), binary::Array::of(Type::JSONB), time(), time()];
        Self { columns, count: 0, bytes: 0 }
    }
}

impl Cells {
    fn push(&mut self, row: &FeatureRow, cell: &FeatureCell) {
        let [environment, namespace, key, feature, value, observed_at, expires_at] = &mut self.columns;
        environment.push(row.entity.environment.as_bytes());
        namespace.push(row.entity.namespace.as_bytes());
        key.push(row.entity.primary_key.as_bytes());
        feature.push(row.feature(cell).as_bytes());
        match &cell.value {
            None => value.push_null(),
            Some(given) => value.push_with(|out| {
                out.push(VERSION);
                jsonb::write(given, out);
            }),
        }
        observed_at.push(&binary::timestamptz(cell.observed_at).to_be_bytes());
        match cell.expires_at.time() {
            None => expires_at.push_null(),
            Some(end) => expires_at.push(&binary::timestamptz(end).to_be_bytes()),
        }
        self.count += 1;
        self.bytes += cell.value.as_ref().map_or(0, Value::size);
    }

    pub(super) fn parameters(&self) -> [&(dyn ToSql + Sync); 7] {
        self.columns.each_ref().map(|column| column as &(dyn ToSql + Sync))
    }
}

/// Cuts rows into chunks; what the store can never take is named in `refused`.
pub(super) fn of(rows: &[&FeatureRow], refused: &mut Vec<(usize, Refusal)>) -> Vec<Chunk> {
    let now = merge::now_micros();
    let mut order: Vec<usize> = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        match merge::refusal(row).or_else(|| refusal(row)) {
            Some(refusal) => refused.push((index, refusal)),
            None => order.push(index),
        }
    }
    order.sort_unstable_by(|one, other| rows[*one].entity.cmp(&rows[*other].entity));
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut chunk = Chunk::default();
    let mut cells: Vec<&FeatureCell> = Vec::new();
    for index in order {
        let row = rows[index];
        cells.clear();
        cells.extend(&row.cells);
        cells.sort_unstable_by(|one, other| row.feature(one).cmp(row.feature(other)));
        for cell in &cells {
            let live = cell.expires_at.is_after(now);
            let side = if live { &mut chunk.live } else { &mut chunk.expired };
            side.push(row, cell);
            if side.count >= VALUES as u64 || side.bytes >= BYTES {
                chunks.push(std::mem::take(&mut chunk));
            }
        }
    }
    if chunk.live.count + chunk.expired.count > 0 {
        chunks.push(chunk);
    }
    chunks
}

/// Why Postgres takes no row like this.
fn refusal(row: &FeatureRow) -> Option<Refusal> {
    let entity = &row.entity;
    let names = [&*entity.environment, &*entity.namespace, &*entity.primary_key];
    let refuse = |message: String| Some(merge::at(Refusal::new(ErrorClass::ValueRefused, message), row));
    if names.iter().any(|name| name.contains('\0')) {
        return refuse("the entity's key holds U+0000, which Postgres cannot store".to_owned());
    }
    let length: usize = names.iter().map(|name| name.len()).sum();
    for cell in &row.cells {
        let feature = row.feature(cell);
        let shown = feature.escape_default();
        if feature.contains('\0') || cell.value.as_ref().is_some_and(jsonb::holds_nul) {
            return refuse(format!("`{shown}` holds U+0000, which Postgres cannot store"));
        }
        if length + feature.len() > LONGEST_KEY {
            let found = length + feature.len();
            return refuse(format!("the key of `{shown}` is {found} bytes; an index of Postgres takes {LONGEST_KEY}"));
        }
        if let Some(value) = cell.value.as_ref().filter(|value| value.heap_size() > WORTH_A_LOOK) {
            let mut text = Vec::new();
            jsonb::write(value, &mut text);
            if text.len() > LARGEST {
                return Some(merge::at(merge::too_large(feature), row));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::feature::Entity;
    use crate::row::feature::Expires;

    fn row(key: &str, features: &[&str]) -> FeatureRow {
        let entity = Entity { environment: "e".into(), namespace: "n".into(), primary_key: key.into() };
        let cell = FeatureCell { feature: 0, observed_at: 1, expires_at: Expires::NEVER, value: Some(Value::Int(1)) };
        FeatureRow::of(entity, features.iter().map(|feature| (*feature, cell.clone())))
    }

    #[test]
    fn values_are_cut_after_a_number_of_them_and_by_their_size() {
        let features: Vec<String> = (0..7).map(|at| format!("f{at}")).collect();
        let features: Vec<&str> = features.iter().map(String::as_str).collect();
        let mut rows: Vec<FeatureRow> = (0..2_000).map(|key| row(&key.to_string(), &features)).collect();
        for large in rows.iter_mut().take(3) {
            large.cells[0].value = Some(Value::text("x".repeat(BYTES)));
        }
        let rows: Vec<&FeatureRow> = rows.iter().collect();
        let chunks = of(&rows, &mut Vec::new());
        assert_eq!(chunks.iter().map(|chunk| chunk.live.count).sum::<u64>(), 14_000);
        assert!(chunks.iter().all(|chunk| chunk.live.count <= VALUES as u64));
        assert!(chunks.len() >= 3 && chunks.len() <= 6, "{}", chunks.len());
        assert!(of(&[], &mut Vec::new()).is_empty());
    }

    #[test]
    fn what_no_row_of_the_table_can_hold_is_refused_by_name() {
        let long = "k".repeat(LONGEST_KEY);
        let rows = [row("a\0", &["f"]), row("a", &["f\0"]), row(&long, &["f"]), row("a", &["f"])];
        let rows: Vec<&FeatureRow> = rows.iter().collect();
        let mut refused = Vec::new();
        let chunks = of(&rows, &mut refused);
        assert_eq!(chunks[0].live.count, 1);
        assert_eq!(refused.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(refused.iter().all(|(_, refusal)| refusal.class == ErrorClass::ValueRefused));
    }
}
