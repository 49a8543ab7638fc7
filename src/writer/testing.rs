//! What the writers' tests have in common: settings, messages and results, small to write down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;

use super::WriterType;
use super::open::{Admitted, Opened};
use super::outlet::Publishes;
use crate::bus::OnGap;
use crate::config::secret::SecretRef;
use crate::config::settings::{
    BusSettings, CacheStrategy, Environment, Environments, Feature, LocalSettings, StoreSettings, Tuning, TypeSettings,
    WriterSettings,
};
use crate::message::{Delivery, Envelope, EventType, Headers, Message, Partition};
use crate::result::arrow::encode;
use crate::result::{Cell, EntityRow, FeatureTable, Persistence, QueryResult, Source, TableBody};
use crate::value::Value;

/// What the tests' clock says: 2026-11-22T18:32:00Z.
pub(super) const NOW: i64 = 1_795_372_320_000_000;
/// One second in microseconds.
pub(super) const SECOND: i64 = 1_000_000;
/// One day in microseconds.
pub(super) const DAY: i64 = 86_400 * SECOND;

pub(super) fn settings(writer_type: WriterType, environments: &[(&str, Environment)]) -> WriterSettings {
    let entries = environments.iter().map(|(id, entry)| ((*id).to_owned(), entry.clone())).collect();
    WriterSettings {
        name: "writer".to_owned(),
        writer_type,
        bus: BusSettings::Local(LocalSettings { path: "bus.sqlite".into() }),
        subscription: "results".to_owned(),
        publishes: None,
        group: "chalk-writer".to_owned(),
        dlq_topic: Some("dlq".to_owned()),
        environments: Arc::new(Environments { entries }),
        tuning: Tuning {
            park_after: None,
            parking_topic: None,
            batch_max_rows: 1_000,
            batch_max_bytes: 16 << 20,
            batch_max_age: Duration::from_secs(1),
            concurrency: 4,
            memory_limit: 128 << 20,
            retry_max_pause: Duration::from_millis(10),
            retry_first_pause: Duration::from_millis(1),
            dlq_max_ratio: 0.1,
            dlq_max_consecutive: 100,
            drain_timeout: Duration::from_secs(10),
            max_future_skew: Duration::from_hours(24),
            tombstone_retention: Duration::from_hours(24 * 7),
            max_message_bytes: 64 << 20,
            on_gap: OnGap::Continue,
        },
        of_type: TypeSettings::default(),
        query_table_write_drop_ratio: 0.0,
        skip_offline_writes_for_online_cached_features: false,
        listen: None,
        metadata: None,
    }
}

/// A topic that a writer publishes to.
pub(super) fn publishes(topic: &str) -> Publishes {
    Publishes {
        topic: topic.to_owned(),
        named_by: "`a_topic`".to_owned(),
        source: "chalk-writer/chalk-writer".to_owned(),
        most_unpacked: 64 << 20,
    }
}

pub(super) fn store(uri: &str) -> StoreSettings {
    StoreSettings::of(SecretRef::plain(uri))
}

pub(super) fn feature(fqn: &str) -> Feature {
    Feature {
        fqn: fqn.to_owned(),
        dtype: None,
        max_staleness: Some(crate::config::settings::MaxStaleness::For(Duration::from_hours(1))),
        store_online: None,
        store_offline: true,
        cache_strategy: CacheStrategy::All,
        internal_version: 0,
        default: None,
        metric: None,
    }
}

pub(super) fn listed(features: Vec<Feature>) -> Option<BTreeMap<String, Feature>> {
    Some(features.into_iter().map(|feature| (feature.fqn.clone(), feature)).collect())
}

/// A message with these headers and no body, which the bus took at [`NOW`].
pub(super) fn message(headers: &[(&str, &str)]) -> Message {
    Message {
        delivery: Delivery(1),
        partition: Partition { topic: "results".into(), number: 0 },
        offset: 7,
        timestamp_ms: Some(NOW / 1_000),
        key: None,
        headers: headers.iter().copied().collect::<Headers>(),
        payload: None,
    }
}

/// A result of environment `prod`, observed at [`NOW`].
pub(super) fn result(tables: Vec<FeatureTable>) -> QueryResult {
    QueryResult {
        environment_id: "prod".into(),
        deployment_id: "dep-7".into(),
        operation_id: "op-1".into(),
        operation_kind: 1,
        observed_at: Some(NOW),
        query: None,
        tables,
        persistence: Persistence::default(),
        errors: Vec::new(),
        resolver_runs: Vec::new(),
    }
}

/// A table whose columns are those of all rows, in order of appearance.
pub(super) fn table(namespace: &str, rows: Vec<(Value, Vec<(&str, Value, Source)>)>) -> FeatureTable {
    let mut columns: Vec<ByteString> = Vec::new();
    let rows = rows
        .into_iter()
        .map(|(id, cells)| {
            let cells = cells.into_iter().map(|(name, value, source)| {
                let known = columns.iter().position(|column| &**column == name);
                let column = known.unwrap_or_else(|| {
                    columns.push(name.into());
                    columns.len() - 1
                });
                Cell { column, value, source, source_id: None }
            });
            EntityRow { id, observed_at: None, cells: cells.collect(), fault: None }
        })
        .collect();
    FeatureTable { namespace: namespace.into(), body: TableBody::Rows { columns: columns.into(), rows } }
}

/// One entity `user/42` with one feature that a resolver computed.
pub(super) fn one(name: &str, value: Value) -> FeatureTable {
    table("user", vec![(Value::Int(42), vec![(name, value, Source::Resolver)])])
}

/// The rows of a table in row form, to be changed.
pub(super) fn rows_of(table: &mut FeatureTable) -> &mut Vec<EntityRow> {
    match &mut table.body {
        TableBody::Rows { rows, .. } => rows,
        TableBody::Arrow(_) => panic!("the tests write row form"),
    }
}

pub(super) fn opened(message: &Message, result: QueryResult) -> Opened<'_> {
    let envelope = Envelope::read(message, EventType::Result).expect("sound headers");
    let admitted = Admitted { message, envelope, event_type: EventType::Result, limit: 64 << 20 };
    Opened { admitted, result, unpacked: 0 }
}

/// Any result at all: random names, ids, sources, times and values.
pub(super) fn any_result() -> impl proptest::strategy::Strategy<Value = QueryResult> {
    use proptest::prelude::*;
    let value = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_map(Value::Double),
        "\\PC{0,5}".prop_map(Value::text),
        any::<i64>().prop_map(Value::Timestamp),
        any::<i32>().prop_map(Value::Date),
        Just(Value::List(vec![Value::Null, Value::Int(1)])),
    ];
    let source = prop::sample::select(vec![
        Source::Unknown,
        Source::Resolver,
        Source::OnlineStore,
        Source::OfflineStore,
        Source::Default,
        Source::Given,
        Source::Missing,
    ]);
    let cell = (0..5_usize, value.clone(), source).prop_map(|(column, value, source)| Cell {
        column,
        value,
        source,
        source_id: None,
    });
    let fault = prop::option::weighted(0.1, Just("broken".to_owned()));
    let time = prop_oneof![1 => any::<i64>(), 4 => NOW - 2 * DAY..NOW + 2 * DAY];
    let id = prop_oneof![1 => value, 3 => (0..3_i64).prop_map(Value::Int)];
    let row = (id, prop::option::of(time.clone()), prop::collection::vec(cell, 0..6), fault)
        .prop_map(|(id, observed_at, cells, fault)| EntityRow { id, observed_at, cells, fault });
    let odd = vec!["card.a", "user.", "user.__ts__", "user.b~1", "", "😀"];
    let name = prop_oneof![
        8 => prop::sample::select(vec!["user.a", "user.a@2", "user.a__v2", "__ts__", "__id__"]),
        1 => prop::sample::select(odd),
    ];
    let body = prop_oneof![
        9 => (prop::collection::vec(name, 0..5), prop::collection::vec(row, 0..4)).prop_map(|(columns, rows)| {
            TableBody::Rows { columns: columns.into_iter().collect(), rows }
        }),
        1 => Just(TableBody::Arrow(bytes::Bytes::from_static(b"ARROW1"))),
    ];
    let namespace = prop::sample::select(vec!["user", "user", "user", "card", "", "query_log"]);
    let table = (namespace, body).prop_map(|(namespace, body)| FeatureTable { namespace: namespace.into(), body });
    let tables = prop::collection::vec(table, 0..3);
    (tables, prop::option::of(time), any::<i32>(), any::<bool>(), any::<bool>()).prop_map(
        |(tables, observed_at, operation_kind, online, offline)| QueryResult {
            observed_at,
            operation_kind,
            persistence: Persistence { online, offline, ..Persistence::default() },
            ..result(tables)
        },
    )
}

/// Rows of one table whose columns have a type each, and the same table in Arrow form.
pub(super) fn any_table() -> impl proptest::strategy::Strategy<Value = (FeatureTable, FeatureTable)> {
    use proptest::prelude::*;
    let time = prop_oneof![1 => Just(i64::from(i32::MIN)), 6 => NOW - 2 * DAY..NOW + 2 * DAY];
    let kinds: Vec<BoxedStrategy<Value>> = vec![
        any::<i64>().prop_map(Value::Int).boxed(),
        any::<f64>().prop_map(Value::Double).boxed(),
        "[0-9a-c]{0,3}".prop_map(Value::text).boxed(),
        time.clone().prop_map(Value::Timestamp).boxed(),
        prop::collection::vec((-9..9_i64).prop_map(Value::Int), 1..3).prop_map(Value::List).boxed(),
    ];
    let source = (0..7_i32).prop_map(Source::numbered);
    let names = vec!["user.a", "user.a@2", "user.a__v2", "__ts__", "user.off", "user.number", "card.x", "__index__"];
    let column = (prop::sample::select(names), prop::sample::select(kinds), any::<bool>());
    let ids = prop::sample::select(vec![
        (0..9_i64).prop_map(Value::Int).boxed(),
        "[a-c]{0,2}".prop_map(Value::text).boxed(),
        prop_oneof![9 => (0..9_i64).prop_map(Value::Int), 1 => Just(Value::Null)].boxed(),
        any::<f64>().prop_map(Value::Double).boxed(),
    ]);
    (prop::collection::vec(column, 0..5), ids, 1..6_usize).prop_flat_map(move |(mut columns, id, rows)| {
        let mut seen = std::collections::HashSet::new();
        columns.retain(|(name, _, _)| seen.insert(*name));
        let names: Vec<ByteString> = columns.iter().map(|(name, _, _)| ByteString::from(*name)).collect();
        let cells: Vec<_> = columns
            .into_iter()
            .map(|(_, kind, told)| {
                let source = if told { source.clone().boxed() } else { Just(Source::Unknown).boxed() };
                (prop_oneof![1 => Just(Value::Null), 4 => kind], source)
            })
            .collect();
        let row = (id, cells).prop_map(|(id, cells)| {
            let cells = cells.into_iter().enumerate().map(|(column, (value, source))| Cell {
                column,
                value,
                source,
                source_id: None,
            });
            EntityRow { id, observed_at: None, cells: cells.collect(), fault: None }
        });
        prop::collection::vec(row, rows).prop_filter_map("a table that has an Arrow form", move |rows| {
            let table = |body| FeatureTable { namespace: "user".into(), body };
            let plain = table(TableBody::Rows { columns: names.clone().into(), rows });
            let batch = encode::batch(&plain).ok()?;
            let ipc = encode::ipc(&batch, BTreeMap::new(), encode::Form::Stream).ok()?;
            let arrow = table(TableBody::Arrow(ipc.into()));
            Some((plain, arrow))
        })
    })
}
