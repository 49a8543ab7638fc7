//! Random rows, held against a model of what a lake takes that is written without the lake's own rules.

use std::collections::{BTreeMap, HashMap};

use chalk_writer::row::table::TableRow;
use chalk_writer::value::Value;
use proptest::prelude::*;

use super::support::{DAY, NOON, ReadRow, open, read_once, row, shape, write};

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => Just(Value::Null),
        4 => any::<i64>().prop_map(Value::Int),
        2 => (-9_i64..9).prop_map(Value::Int),
        3 => any::<f64>().prop_filter("a NaN equals nothing", |n| !n.is_nan()).prop_map(Value::Double),
        3 => any::<String>().prop_map(Value::text),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => any::<Vec<u8>>().prop_map(|bytes| Value::Bytes(bytes.into())),
        1 => (-62_135_596_800_000_000..253_402_300_800_000_000_i64).prop_map(Value::Timestamp),
        1 => (-719_162..2_932_897_i32).prop_map(Value::Date),
        1 => any::<Vec<bool>>().prop_map(|flags| Value::List(flags.into_iter().map(Value::Bool).collect())),
        1 => any::<(bool, bool)>().prop_map(|(one, two)| Value::List(vec![
            Value::List(vec![Value::Bool(one)]), Value::Null, Value::List(vec![]), Value::List(vec![Value::Bool(two)]),
        ])),
        1 => any::<(i32, String)>().prop_map(|(day, text)| Value::Struct(vec![
            ("x".into(), Value::Date(day % 700_000)), ("y z".into(), Value::text(text)),
        ])),
    ]
}

/// What a value is to the model; `None` is a null.
fn tag(value: &Value) -> Option<&'static str> {
    Some(match value {
        Value::Null => return None,
        Value::Int(_) => "int",
        Value::Double(_) => "double",
        Value::Text(_) => "text",
        Value::Bool(_) => "bool",
        Value::Bytes(_) => "bytes",
        Value::Timestamp(_) => "timestamp",
        Value::Date(_) => "date",
        Value::List(items) if items.is_empty() => "empty list",
        Value::List(items) if items.iter().any(|item| matches!(item, Value::List(_))) => "lists",
        Value::List(_) => "list",
        Value::Struct(_) => "struct",
        other => panic!("{other:?} is not generated"),
    })
}

#[derive(Default)]
struct Model {
    types: HashMap<(String, String), &'static str>,
    rows: BTreeMap<String, BTreeMap<String, ReadRow>>,
    /// An integer column became double.
    widened: bool,
}

impl Model {
    /// Which rows of one write are refused. All are held against what their columns are in the end: an
    /// integer is refused by a double that only comes after it, too.
    fn offer_all(&mut self, rows: &[TableRow]) -> Vec<usize> {
        let before = self.rows.clone();
        loop {
            self.rows.clone_from(&before);
            self.widened = false;
            let refused = rows.iter().enumerate().filter(|(_, row)| !self.offer(row)).map(|(at, _)| at).collect();
            if !self.widened {
                return refused;
            }
        }
    }

    /// Whether the row is taken.
    fn offer(&mut self, row: &TableRow) -> bool {
        let (mut next, mut widened) = (self.types.clone(), false);
        for (column, value) in row.shape.columns.iter().zip(&row.values) {
            let Some(found) = tag(value) else { continue };
            let known = next.entry((row.shape.table.to_string(), column.name.to_string())).or_insert(found);
            match (*known, found) {
                ("int", "double") => {
                    *known = "double";
                    widened = true;
                }
                ("double", "int") => {
                    let Value::Int(number) = value else { unreachable!("an int") };
                    if i128::from(*number).abs() > 1 << 53 {
                        return false;
                    }
                }
                (known, found) if known == found => {}
                ("empty list", "list" | "lists") => *known = found,
                ("list" | "lists", "empty list") => {}
                _ => return false,
            }
        }
        self.types = next;
        self.widened |= widened;
        let named = row.shape.columns.iter().zip(&row.values).filter(|(_, value)| **value != Value::Null);
        let read: ReadRow = named.map(|(column, value)| (column.name.to_string(), value.clone())).collect();
        let Value::Text(id) = &row.values[0] else { unreachable!("an id") };
        self.rows.entry(row.shape.table.to_string()).or_default().insert(id.to_string(), read);
        true
    }
}

fn same(sent: &Value, found: &Value) -> bool {
    match (sent, found) {
        (Value::Int(sent), Value::Double(found)) => i128::from(*sent) == *found as i128,
        _ => sent == found,
    }
}

type Cells = Vec<(u8, Value)>;

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn every_row_is_there_as_it_was_sent_or_was_refused(
        units in prop::collection::vec(
            prop::collection::vec((0..2_u8, 0..4_i64, prop::collection::vec((0..5_u8, leaf()), 0..4)), 1..30), 1..4)
    ) {
        let root = tempfile::tempdir().expect("folder");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut model = Model::default();
        let mut id = 0;
        for (number, unit) in units.iter().enumerate() {
            let rows: Vec<TableRow> = unit.iter().map(|(table, day, cells)| {
                let cells: BTreeMap<String, Value> =
                    (cells as &Cells).iter().map(|(n, value)| (format!("c{n}"), value.clone())).collect();
                let names: Vec<(&str, Option<&str>)> = cells.keys().map(|name| (name.as_str(), None)).collect();
                id += 1;
                row(&shape(&format!("t{table}"), &names), id, NOON + day * DAY, cells.values().cloned())
            }).collect();
            // A lake of its own each: what is agreed on is read from the folder.
            let outcome = runtime.block_on(write(&open(root.path()), &number.to_string(), &rows)).expect("written");
            let mut refused: Vec<usize> = outcome.refused.iter().map(|(at, _)| *at).collect();
            refused.sort_unstable();
            let expected = model.offer_all(&rows);
            prop_assert_eq!(refused, expected, "{:?}", outcome.refused);
        }
        for table in ["t0", "t1"] {
            let found = read_once(root.path(), table);
            let expected = model.rows.remove(table).unwrap_or_default();
            prop_assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
            for (id, sent) in &expected {
                let row = &found[id];
                prop_assert_eq!(row.keys().collect::<Vec<_>>(), sent.keys().collect::<Vec<_>>());
                for (column, value) in sent {
                    prop_assert!(same(value, &row[column]), "{}: {:?} came back as {:?}", column, value, row[column]);
                }
            }
        }
    }
}
