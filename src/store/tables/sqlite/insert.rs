//! The statement that puts the rows of one shape into their table.

use crate::row::table::{Repeats, Shape};
use crate::store::postgres::quoted;

/// The statement; `columns` are indices of those of the shape's columns that the table has.
pub(super) fn statement(shape: &Shape, columns: &[usize]) -> String {
    let name = |at: &usize| quoted(&shape.columns[*at].name);
    let list = |of: &[usize]| of.iter().map(name).collect::<Vec<_>>().join(", ");
    let places = (1..=columns.len()).map(|place| format!("?{place}")).collect::<Vec<_>>().join(", ");
    let table = quoted(&shape.table);
    let insert = format!("INSERT INTO {table} AS old ({}) VALUES ({places})", list(columns));
    if shape.key.is_empty() {
        return insert;
    }
    let key = list(&shape.key);
    let others: Vec<&usize> = columns.iter().filter(|at| !shape.key.contains(at)).collect();
    if shape.repeats == Repeats::First || others.is_empty() {
        return format!("{insert} ON CONFLICT ({key}) DO NOTHING");
    }
    let further = match shape.repeats {
        Repeats::Furthest(column) => Some(column),
        Repeats::First | Repeats::Newest => None,
    };
    // What is null is older than any. Of equals the larger stands, so that the same one does in whatever
    // order they come; the same row changes nothing.
    let order = |of: &str| {
        let has = |at: &usize| columns.contains(at);
        let further = further.filter(has).map(|at| format!("coalesce({of}.{}, -9223372036854775808)", name(&at)));
        let time = shape.time.column().filter(has).map(|at| format!("coalesce({of}.{}, '')", name(&at)));
        let text = others.iter().map(|at| format!("coalesce(nullif(quote({of}.{}), 'NULL'), '')", name(at)));
        further.into_iter().chain(time).chain(text).collect::<Vec<_>>().join(", ")
    };
    let set: Vec<String> = others.iter().map(|at| format!("{0} = excluded.{0}", name(at))).collect();
    let (new, old) = (order("excluded"), order("old"));
    format!("{insert} ON CONFLICT ({key}) DO UPDATE SET {} WHERE ({new}) > ({old})", set.join(", "))
}
