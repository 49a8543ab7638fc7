//! What this writer publishes, the writer of the metrics bus takes.

use std::sync::Arc;

use super::*;
use crate::config::settings::{Environment, MetricsStores};
use crate::row::table::TableRows;
use crate::writer::metrics_bus;
use crate::writer::testing::store;

fn rows_of_all(messages: &[Outgoing]) -> BTreeMap<String, usize> {
    let stores = MetricsStores { main: Some(store("sqlite:metrics.sqlite")), ..MetricsStores::default() };
    let environment = Environment { metrics_store: Some(stores), ..Environment::default() };
    let settings = settings(WriterType::METRICS_BUS, &[("prod", environment)]);
    let destinations = metrics_bus::destinations(&settings).expect("one store");
    let decoder = metrics_bus::decoder(&settings, &destinations, Arc::new(|| NOW));
    let mut tables = BTreeMap::new();
    for Outgoing { headers, payload, .. } in messages {
        let message = Message { headers: headers.clone(), payload: payload.clone(), ..message(&[]) };
        let mut decoded: Decoded<TableRows> = Decoded::default();
        decoder.decode(&message, &mut decoded);
        assert!(decoded.refused.is_empty(), "{:?}", decoded.refused);
        assert_eq!(decoded.skipped, []);
        for row in &decoded.rows {
            let table = match row {
                TableRows::Row(row) => row.shape.table.to_string(),
                TableRows::Columns(columns) => columns.shape.table.to_string(),
            };
            *tables.entry(table).or_default() += row.rows();
        }
    }
    tables
}

#[test]
fn a_result_becomes_rows_of_every_table_of_metrics() {
    let of_resolver = ChalkError { resolver: Some("get_score".to_owned()), ..ChalkError::default() };
    let result = QueryResult {
        query: Some(Box::new(query())),
        errors: vec![ChalkError::default(), of_resolver.clone(), of_resolver],
        resolver_runs: vec![run("get_score", v1::ResolverKind::Online, v1::ResolverStatus::Success, 0.25, 3)],
        ..result(vec![one("user.score", Value::Double(0.5)), one("user.name", Value::text("Ada"))])
    };
    let decoded = decoded(&result);
    let metrics = decoded.rows[0].partials.len();
    let expected = [("metrics", metrics), ("queries", 1), ("query_errors", 1), ("resolver_errors", 2)];
    let expected = expected.map(|(table, rows)| (table.to_owned(), rows));
    assert_eq!(rows_of_all(&emitted(&decoded.rows).messages), expected.into());
}
