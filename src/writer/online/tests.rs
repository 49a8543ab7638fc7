//! Which values of a result go into the online store, and when they expire there.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::StoreKind;
use crate::config::settings::{CacheStrategy, Environment, Feature, MaxStaleness};
use crate::decode::Decoded;
use crate::result::{Cell, EntityRow, FeatureTable, Names, Persistence, QueryResult, Source, TableBody};
use crate::row::feature::FeatureCell;
use crate::sink::{ErrorClass, Row, Sink};
use crate::store::{StoreError, StoreOptions};
use crate::value::Value;
use crate::value::dtype::DataType;
use crate::writer::destinations::{Opener, PlannedDestination, Stores};
use crate::writer::skip;
use crate::writer::testing::{
    DAY, NOW, SECOND, any_result, any_table, feature, listed, message, one, opened, result, rows_of, settings, store,
    table,
};

const HOUR: i64 = 3_600 * SECOND;

/// An online store that the tests' plans name and never open.
const NEVER_OPENED: Stores<FeatureRow> = Stores {
    name: "online store",
    kind: StoreKind::Online,
    uri: "uri",
    open: Opener::Store(never),
    absorbs_repeats: |uri| crate::store::ONLINE.absorbs_repeats(uri),
    has_keyless_rows: false,
};

fn never(_: &StoreOptions) -> Result<Arc<dyn Sink<FeatureRow>>, StoreError> {
    Err(StoreError("never opened".to_owned()))
}

fn environment(features: Option<Vec<Feature>>) -> Environment {
    Environment { online_store: Some(store("sqlite:a")), features: features.and_then(listed), ..Environment::default() }
}

fn decoder_of(environments: &[(&str, Environment)]) -> OnlineDecoder {
    let settings = settings(WriterType::ONLINE, environments);
    let destinations = Destinations::plan(&settings.environments, &NEVER_OPENED).expect("a store");
    decoder(&settings, &destinations, Arc::new(|| NOW)).expect("sound settings")
}

/// What an environment `prod` makes of a result, under headers.
fn decode_with(environment: Environment, result: QueryResult) -> Decoded<FeatureRow> {
    let mut decoded = Decoded::default();
    let message = message(&[("ce_id", "e-1")]);
    decoder_of(&[("prod", environment)]).rows(opened(&message, result), &mut decoded);
    decoded
}

fn decode(features: Option<Vec<Feature>>, tables: Vec<FeatureTable>) -> Decoded<FeatureRow> {
    decode_with(environment(features), result(tables))
}

/// The one cell of the one row.
fn only(decoded: &Decoded<FeatureRow>) -> &FeatureCell {
    assert_eq!(decoded.refused, []);
    let [row] = &decoded.rows[..] else { panic!("one row, not {:?}", decoded.rows) };
    let [cell] = &row.cells[..] else { panic!("one cell, not {:?}", row.cells) };
    cell
}

fn class(decoded: &Decoded<FeatureRow>) -> ErrorClass {
    assert!(decoded.rows.is_empty(), "{:?}", decoded.rows);
    let [refusal] = &decoded.refused[..] else { panic!("one refusal, not {:?}", decoded.refused) };
    refusal.class
}

fn skipped(decoded: &Decoded<FeatureRow>, reason: &'static str) {
    assert!(decoded.rows.is_empty(), "{:?}", decoded.rows);
    assert_eq!(decoded.refused, []);
    assert_eq!(decoded.skipped, [(reason, 1)]);
}

#[test]
fn a_value_is_stored_under_its_entity_and_expires_after_its_staleness() {
    let decoded = decode(Some(vec![feature("user.score")]), vec![one("user.score", Value::Double(0.7))]);
    let cell = only(&decoded);
    assert_eq!(decoded.rows[0].feature(cell), "score");
    assert_eq!(cell.value, Some(Value::Double(0.7)));
    assert_eq!((cell.observed_at, cell.expires_at.time()), (NOW, Some(NOW + HOUR)));
    let entity = &decoded.rows[0].entity;
    assert_eq!((&*entity.environment, &*entity.namespace, &*entity.primary_key), ("prod", "user", "42"));
    assert_eq!(decoded.environment.as_deref(), Some("prod"));
    assert_eq!(decoded.event_time, Some(NOW));
}

#[test]
fn what_is_left_out_of_a_row_changes_nothing_of_the_rest() {
    let listed = || {
        vec![
            Feature { dtype: Some(DataType::Int64), ..feature("user.a") },
            Feature { max_staleness: Some(MaxStaleness::Infinity), ..feature("user.b") },
            Feature { max_staleness: Some(MaxStaleness::For(Duration::from_secs(60))), ..feature("user.c") },
            feature("user.d"),
        ]
    };
    let stored = |more: Option<(&'static str, Value, Source)>| {
        let mut cells = vec![
            ("user.a", Value::Int(1), Source::Resolver),
            ("user.b", Value::Null, Source::Default),
            ("user.c", Value::text("x"), Source::Unknown),
        ];
        cells.extend(more);
        // A list with room for more is copied for that reason alone.
        cells.shrink_to_fit();
        let decoded = decode(Some(listed()), vec![table("user", vec![(Value::Int(7), cells)])]);
        assert_eq!(decoded.refused, []);
        let [row] = &decoded.rows[..] else { panic!("one row, not {:?}", decoded.rows) };
        let cell = |cell: &FeatureCell| {
            (row.feature(cell).to_owned(), cell.observed_at, cell.expires_at.time(), cell.value.clone())
        };
        row.cells.iter().map(cell).collect::<Vec<_>>()
    };
    let expected = [
        ("a".to_owned(), NOW, Some(NOW + HOUR), Some(Value::Int(1))),
        ("b".to_owned(), NOW, None, Some(Value::Null)),
        ("c".to_owned(), NOW, Some(NOW + 60 * SECOND), Some(Value::text("x"))),
    ];
    assert_eq!(stored(None), expected);
    assert_eq!(stored(Some(("user.d", Value::Int(1), Source::Given))), expected);
    assert_eq!(stored(Some(("user.e", Value::Int(1), Source::Resolver))), expected);
}

#[test]
fn a_row_keeps_little_more_room_than_it_needs_and_says_what_it_keeps() {
    for (cells, room, left_out) in [(1, 64, 0), (10, 10, 0), (40, 50, 0), (65, 128, 0), (10, 100, 90)] {
        let names: Vec<_> = (0..cells + left_out).map(|at| format!("user.f{at}").into()).collect();
        let mut given = Vec::with_capacity(room);
        given.extend((0..cells + left_out).map(|column| Cell {
            column,
            value: Value::Int(1),
            source: if column < cells { Source::Unknown } else { Source::Given },
            source_id: None,
        }));
        let rows = vec![EntityRow { id: Value::Int(1), observed_at: None, cells: given, fault: None }];
        let body = TableBody::Rows { columns: Names::from(names), rows };
        let decoded = decode(None, vec![FeatureTable { namespace: "user".into(), body }]);
        let [row] = &decoded.rows[..] else { panic!("one row, not {:?}", decoded.rows) };
        assert_eq!(row.cells.len(), cells);
        assert!(row.cells.capacity() <= cells + cells / 4, "room for {} of {cells}", row.cells.capacity());
        let kept = row.cells.capacity() * size_of::<FeatureCell>();
        assert_eq!(row.size(), size_of::<FeatureRow>() + "1".len() + kept);
    }
}

#[test]
fn versions_are_part_of_the_persistence_key() {
    for (fqn, internal_version, key) in
        [("user.score@2", 0, "score@2"), ("user.score", 3, "score~3"), ("user.score@2", 1, "score@2~1")]
    {
        let listed = Feature { internal_version, ..feature(fqn) };
        let decoded = decode(Some(vec![listed]), vec![one(fqn, Value::Int(1))]);
        assert_eq!(decoded.rows[0].feature(only(&decoded)), key);
    }
}

#[test]
fn the_source_of_a_value_decides_whether_it_is_written() {
    for source in [Source::Unknown, Source::Resolver, Source::Default, Source::OfflineStore] {
        let decoded = decode(None, vec![table("user", vec![(Value::Int(1), vec![("user.a", Value::Int(1), source)])])]);
        assert_eq!(only(&decoded).value, Some(Value::Int(1)), "{source:?}");
    }
    for (source, reason) in
        [(Source::OnlineStore, skip::CACHE_HIT), (Source::Given, skip::GIVEN), (Source::Missing, skip::MISSING)]
    {
        let decoded = decode(None, vec![table("user", vec![(Value::Int(1), vec![("user.a", Value::Int(1), source)])])]);
        skipped(&decoded, reason);
    }
}

#[test]
fn store_online_and_staleness_decide_whether_a_feature_is_cached() {
    let zero = Some(MaxStaleness::For(Duration::ZERO));
    let hour = Some(MaxStaleness::For(Duration::from_hours(1)));
    let infinity = Some(MaxStaleness::Infinity);
    for (store_online, max_staleness, expected) in [
        (Some(false), hour, Err(skip::STORE_ONLINE_OFF)),
        (Some(false), zero, Err(skip::STORE_ONLINE_OFF)),
        (None, zero, Err(skip::NOT_CACHED)),
        (None, None, Err(skip::NOT_CACHED)),
        (None, hour, Ok(Some(NOW + HOUR))),
        (None, infinity, Ok(None)),
        (Some(true), hour, Ok(Some(NOW + HOUR))),
        (Some(true), infinity, Ok(None)),
        (Some(true), zero, Ok(None)),
        (Some(true), None, Ok(None)),
    ] {
        let listed = Feature { max_staleness, store_online, ..feature("user.a") };
        let decoded = decode(Some(vec![listed]), vec![one("user.a", Value::Int(1))]);
        match expected {
            Ok(expires_at) => {
                assert_eq!(only(&decoded).expires_at.time(), expires_at, "{store_online:?} {max_staleness:?}");
            }
            Err(reason) => skipped(&decoded, reason),
        }
    }
}

#[test]
fn a_feature_without_a_staleness_takes_the_environments() {
    let listed_feature = Feature { max_staleness: None, ..feature("user.a") };
    let environment = Environment {
        default_max_staleness: Some(MaxStaleness::For(Duration::from_mins(1))),
        ..environment(Some(vec![listed_feature]))
    };
    let decoded = decode_with(environment, result(vec![one("user.a", Value::Int(1))]));
    assert_eq!(only(&decoded).expires_at.time(), Some(NOW + 60 * SECOND));
}

#[test]
fn with_a_list_an_unlisted_feature_stays_out() {
    skipped(&decode(Some(vec![feature("user.a")]), vec![one("user.b", Value::Int(1))]), skip::UNLISTED);
}

#[test]
fn without_a_list_every_feature_is_stored_with_the_environments_staleness_or_for_ever() {
    assert_eq!(only(&decode(None, vec![one("user.b", Value::Int(1))])).expires_at.time(), None);
    for (staleness, expected) in [(HOUR, Some(NOW + HOUR)), (0, None)] {
        let default_max_staleness = Some(MaxStaleness::For(Duration::from_micros(staleness as u64)));
        let environment = Environment { default_max_staleness, ..environment(None) };
        let decoded = decode_with(environment, result(vec![one("user.b", Value::Int(1))]));
        match expected {
            Some(_) => assert_eq!(only(&decoded).expires_at.time(), expected),
            None => skipped(&decoded, skip::NOT_CACHED),
        }
    }
}

#[test]
fn a_value_of_another_type_refuses_its_row_and_no_other() {
    let typed = Feature { dtype: Some(DataType::Float64), ..feature("user.score") };
    let rows = vec![
        (Value::Int(1), vec![("user.score", Value::text("high"), Source::Resolver)]),
        (Value::Int(2), vec![("user.score", Value::Int(3), Source::Resolver)]),
    ];
    let decoded = decode(Some(vec![typed]), vec![table("user", rows)]);
    let [refusal] = &decoded.refused[..] else { panic!("{:?}", decoded.refused) };
    assert_eq!(refusal.class, ErrorClass::TypeMismatch);
    assert_eq!(refusal.row.as_deref(), Some("user/1"));
    assert_eq!(refusal.table.as_deref(), Some("user"));
    assert_eq!(decoded.rows.len(), 1);
    assert_eq!(decoded.rows[0].cells[0].value, Some(Value::Double(3.0)));
}

#[test]
fn a_row_that_cannot_be_read_is_refused_and_the_others_are_stored() {
    let mut both = table(
        "user",
        vec![
            (Value::Int(1), vec![("user.a", Value::Int(1), Source::Resolver)]),
            (Value::Int(2), vec![("user.a", Value::Int(2), Source::Resolver)]),
        ],
    );
    rows_of(&mut both)[0].fault = Some("row 0: no such thing".to_owned());
    let decoded = decode(None, vec![both]);
    assert_eq!(decoded.refused[0].class, ErrorClass::Decode);
    assert_eq!(&*decoded.rows[0].entity.primary_key, "2");
}

#[test]
fn a_row_takes_its_own_time_then_the_messages_then_the_buss() {
    let mut own = one("user.a", Value::Int(1));
    rows_of(&mut own)[0].observed_at = Some(NOW - 5);
    assert_eq!(only(&decode(None, vec![own])).observed_at, NOW - 5);
    let rows = vec![(
        Value::Int(1),
        vec![("user.a", Value::Int(1), Source::Resolver), ("__ts__", Value::Timestamp(NOW - 6), Source::Unknown)],
    )];
    assert_eq!(only(&decode(None, vec![table("user", rows)])).observed_at, NOW - 6);

    let mut silent = result(vec![one("user.a", Value::Int(1))]);
    silent.observed_at = None;
    let observed = |headers: &[(&str, &str)], timestamp_ms| {
        let mut message = message(headers);
        message.timestamp_ms = timestamp_ms;
        let mut decoded = Decoded::default();
        decoder_of(&[("prod", environment(None))]).rows(opened(&message, silent.clone()), &mut decoded);
        decoded
    };
    let event = observed(&[("ce_time", "2026-11-22T18:00:00Z")], Some(NOW / 1_000));
    assert_eq!(only(&event).observed_at, NOW - 32 * 60 * SECOND);
    assert_eq!(only(&observed(&[], Some(NOW / 1_000 - 7))).observed_at, NOW - 7_000);
    assert_eq!(class(&observed(&[], None)), ErrorClass::Decode);
}

#[test]
fn a_time_too_far_ahead_is_refused() {
    let at = |observed_at| {
        let mut table = one("user.a", Value::Int(1));
        rows_of(&mut table)[0].observed_at = Some(observed_at);
        decode(None, vec![table])
    };
    assert_eq!(only(&at(NOW + DAY)).observed_at, NOW + DAY);
    assert_eq!(class(&at(NOW + DAY + 1)), ErrorClass::TimeInFuture);
    assert_eq!(class(&at(i64::MAX)), ErrorClass::TimeInFuture);
    assert_eq!(only(&at(0)).observed_at, 0);
    assert_eq!(class(&at(-1)), ErrorClass::ValueRefused);
}

#[test]
fn what_expired_before_it_came_goes_to_the_store_which_alone_knows_what_is_older() {
    let at = |observed_at, value: Value| {
        let mut table = one("user.a", value);
        rows_of(&mut table)[0].observed_at = Some(observed_at);
        let evicting = Feature { cache_strategy: CacheStrategy::EvictNulls, ..feature("user.a") };
        decode(Some(vec![evicting]), vec![table])
    };
    let decoded = at(NOW - HOUR, Value::Int(1));
    assert_eq!((&only(&decoded).value, only(&decoded).expires_at.time()), (&Some(Value::Int(1)), Some(NOW)));
    let decoded = at(NOW - 8 * DAY, Value::Null);
    assert_eq!((&only(&decoded).value, only(&decoded).expires_at.time()), (&None, Some(NOW - DAY)));
}

#[test]
fn an_eviction_is_a_tombstone_that_outlives_the_value() {
    let evicting = |max_staleness| Feature {
        cache_strategy: CacheStrategy::EvictNulls,
        max_staleness: Some(max_staleness),
        ..feature("user.a")
    };
    for (staleness, expires_at) in [
        (MaxStaleness::For(Duration::from_hours(1)), Some(NOW + 7 * DAY)),
        (MaxStaleness::For(Duration::from_hours(24 * 30)), Some(NOW + 30 * DAY)),
        (MaxStaleness::Infinity, None),
    ] {
        let decoded = decode(Some(vec![evicting(staleness)]), vec![one("user.a", Value::Null)]);
        let cell = only(&decoded);
        assert_eq!((&cell.value, cell.expires_at.time()), (&None, expires_at));
    }
}

/// The public example: `{a: 1, b: 2}` is stored, `{a: 2, b: None}` is written.
#[test]
fn every_strategy_does_with_nulls_and_defaults_what_the_public_example_says() {
    use CacheStrategy::{
        All, EvictDefaults, EvictNulls, EvictNullsAndDefaults, NoDefaults, NoNulls, NoNullsOrDefaults,
    };
    let null = Some(Some(Value::Null));
    let zero = Some(Some(Value::Int(0)));
    let (kept, evicted) = (None, Some(None));
    for (strategy, of_null, of_default) in [
        (All, &null, &zero),
        (NoNulls, &kept, &zero),
        (EvictNulls, &evicted, &zero),
        (NoDefaults, &null, &kept),
        (EvictDefaults, &null, &evicted),
        (NoNullsOrDefaults, &kept, &kept),
        (EvictNullsAndDefaults, &evicted, &evicted),
    ] {
        let plain = Feature { cache_strategy: strategy, ..feature("user.b") };
        let declared = Feature { default: Some(serde_json::json!(0)), ..plain.clone() };
        let b = |feature: &Feature, value: Value, source| {
            let cells = vec![("user.a", Value::Int(2), Source::Resolver), ("user.b", value, source)];
            let a = Feature { fqn: "user.a".to_owned(), ..feature.clone() };
            let decoded = decode(Some(vec![a, feature.clone()]), vec![table("user", vec![(Value::Int(42), cells)])]);
            let cells = &decoded.rows[0].cells;
            assert_eq!(cells[0].value, Some(Value::Int(2)), "{strategy:?}: another value is always stored");
            cells.get(1).map(|cell| cell.value.clone())
        };
        assert_eq!(&b(&plain, Value::Null, Source::Resolver), of_null, "{strategy:?}, null");
        assert_eq!(&b(&plain, Value::Int(0), Source::Default), of_default, "{strategy:?}, said to be the default");
        assert_eq!(&b(&declared, Value::Int(0), Source::Resolver), of_default, "{strategy:?}, equal to the default");
        assert_eq!(b(&plain, Value::Int(0), Source::Resolver), zero, "{strategy:?}, no default at all");
    }
}

#[test]
fn a_default_that_is_not_of_its_features_type_is_an_error_of_the_settings() {
    let faulty = Feature { dtype: Some(DataType::Int64), default: Some(serde_json::json!("x")), ..feature("user.a") };
    let settings = settings(WriterType::ONLINE, &[("prod", environment(Some(vec![faulty])))]);
    let destinations = Destinations::plan(&settings.environments, &NEVER_OPENED).expect("a store");
    let error = decoder(&settings, &destinations, Arc::new(|| NOW)).err().expect("a faulty default").to_string();
    assert!(error.starts_with("default of `user.a`: expected int64"), "{error}");
}

#[test]
fn a_result_that_is_not_to_be_stored_online_is_not() {
    let mut silent = result(vec![one("user.a", Value::Int(1))]);
    silent.persistence = Persistence { online: false, ..Persistence::default() };
    skipped(&decode_with(environment(None), silent), skip::PERSISTENCE_OFF);
}

#[test]
fn an_environment_is_found_by_its_name_or_under_the_star() {
    let of = |ids: &[&str], id: &'static str| {
        let environments: Vec<_> = ids.iter().map(|id| (*id, environment(None))).collect();
        let result = QueryResult { environment_id: id.into(), ..result(vec![one("user.a", Value::Int(1))]) };
        let mut decoded = Decoded::default();
        let message = message(&[]);
        decoder_of(&environments).rows(opened(&message, result), &mut decoded);
        decoded
    };
    assert_eq!(class(&of(&["prod"], "dev")), ErrorClass::UnknownEnvironment);
    assert_eq!(class(&of(&["prod", "*"], "")), ErrorClass::UnknownEnvironment);
    assert_eq!(&*of(&["prod", "*"], "dev").rows[0].entity.environment, "dev");
}

#[test]
fn an_environment_whose_entry_has_no_online_store_is_passed_over() {
    let decoder = decoder_of(&[("dev", Environment::default()), ("prod", environment(None))]);
    let result = QueryResult { environment_id: "dev".into(), ..result(vec![one("user.a", Value::Int(1))]) };
    let mut decoded = Decoded::default();
    decoder.rows(opened(&message(&[]), result), &mut decoded);
    skipped(&decoded, skip::NO_STORE);
    assert_eq!(decoded.environment.as_deref(), Some("dev"));
}

#[test]
fn environments_share_a_store_where_uri_and_prefix_are_the_same() {
    let with = |uri: &str, prefix: &str| {
        let mut settings = store(uri);
        settings.cache_prefix = prefix.to_owned();
        Environment { online_store: Some(settings), ..Environment::default() }
    };
    let environments = [
        ("a", with("redis://r", "")),
        ("b", with("redis://r", "")),
        ("c", with("redis://r", "c/")),
        ("d", with("sqlite:x", "")),
    ];
    let settings = settings(WriterType::ONLINE, &environments);
    let destinations = Destinations::plan(&settings.environments, &NEVER_OPENED).expect("stores");
    let names: Vec<_> = destinations.planned.iter().map(|planned: &PlannedDestination<_>| &*planned.name).collect();
    assert_eq!(names, ["online store of a, b", "online store of c", "online store of d"]);
    assert_eq!(["a", "b", "c", "d", "e"].map(|id| destinations.index(id)), [Some(0), Some(0), Some(1), Some(2), None]);
}

#[test]
fn a_plan_without_any_store_or_of_an_unknown_scheme_says_what_to_do() {
    let error = |environments: &[(&str, Environment)]| {
        let settings = settings(WriterType::ONLINE, environments);
        Destinations::plan(&settings.environments, &NEVER_OPENED).err().expect("nothing to write to").to_string()
    };
    assert_eq!(error(&[]), "`environments` is empty: add one with `online_store`, or `*` for all");
    let none = error(&[("prod", Environment::default())]);
    assert_eq!(none, "no environment has an `online_store` to write to; add one under `environments`: `prod`");
    let secret = Environment { online_store: Some(store("hunter2@host:6379")), ..Environment::default() };
    let unknown = error(&[("prod", secret)]);
    assert!(unknown.contains("known are sqlite, redis") && !unknown.contains("hunter2"), "{unknown}");
}

#[test]
fn a_column_of_another_namespace_or_twice_refuses_the_rows_that_have_it() {
    for name in ["card.number", "user.", "user.a~1"] {
        assert_eq!(class(&decode(None, vec![one(name, Value::Int(1))])), ErrorClass::Decode, "{name}");
    }
    let mut twice = one("user.a", Value::Int(1));
    let TableBody::Rows { columns, rows } = &mut twice.body else { panic!("row form") };
    *columns = ["user.a", "user.a"].into_iter().collect();
    let mut again = rows[0].cells[0].clone();
    again.column = 1;
    rows[0].cells.push(again);
    assert_eq!(class(&decode(None, vec![twice])), ErrorClass::Decode);
}

/// Quadratic, this would be 10^10 comparisons: a minute in which nothing else is done.
#[test]
fn as_many_columns_as_a_message_holds_are_sorted_out_in_linear_time() {
    let columns = (0..150_000).map(|at| format!("user.feature_{at}")).collect();
    let mut wide = one("user.a", Value::Int(1));
    let cell = rows_of(&mut wide)[0].cells[0].clone();
    rows_of(&mut wide)[0].cells = (0..150_000).map(|column| Cell { column, ..cell.clone() }).collect();
    let rows = std::mem::take(rows_of(&mut wide));
    wide.body = TableBody::Rows { columns, rows };
    let decoded = decode(None, vec![wide]);
    assert_eq!((decoded.rows[0].cells.len(), decoded.refused.len()), (150_000, 0));
}

#[test]
fn of_verdicts_without_end_the_first_thousand_are_kept() {
    let row = |_| (Value::Null, vec![("user.a", Value::Int(1), Source::Resolver)]);
    let decoded = decode(None, vec![table("user", (0..5_000).map(row).collect())]);
    assert_eq!((decoded.rows.len(), decoded.refused.len()), (0, 1_000));
}

#[test]
fn a_row_with_two_values_of_one_column_is_refused() {
    let mut twice = one("user.a", Value::Int(1));
    let cells = &mut rows_of(&mut twice)[0].cells;
    cells.push(cells[0].clone());
    assert_eq!(class(&decode(None, vec![twice])), ErrorClass::Decode);
}

#[test]
fn a_table_in_arrow_form_that_is_none_is_refused_by_itself() {
    let arrow = FeatureTable { namespace: "card".into(), body: TableBody::Arrow(bytes::Bytes::new()) };
    let decoded = decode(None, vec![arrow, one("user.a", Value::Int(1))]);
    assert_eq!(decoded.rows.len(), 1);
    assert_eq!(
        decoded.refused[0].to_string(),
        "DECODE: Arrow: neither a file, which begins with ARROW1, nor a stream, which begins with FF FF FF FF"
    );
    assert_eq!(decoded.refused[0].table.as_deref(), Some("card"));
}

#[test]
fn a_primary_key_is_text_or_an_integer() {
    let of =
        |id: Value| decode(None, vec![table("user", vec![(id, vec![("user.a", Value::Int(1), Source::Resolver)])])]);
    assert_eq!(&*of(Value::Int(-5)).rows[0].entity.primary_key, "-5");
    assert_eq!(&*of(Value::text("a/b")).rows[0].entity.primary_key, "a/b");
    assert_eq!(class(&of(Value::Double(1.0))), ErrorClass::Decode);
}

proptest! {
    /// Seen to fail with a column's index taken from the cell without a check.
    #[test]
    fn any_result_at_all_is_decoded_without_a_panic_into_sound_rows(result in any_result(), list in any::<bool>()) {
        let features = list.then(|| vec![
            Feature { dtype: Some(DataType::Int64), cache_strategy: CacheStrategy::EvictNullsAndDefaults, ..feature("user.a") },
            feature("user.a@2"),
        ]);
        let decoded = decode_with(environment(features), result);
        for row in &decoded.rows {
            prop_assert!(!row.cells.is_empty());
            let mut names: Vec<_> = row.cells.iter().map(|cell| row.feature(cell)).collect();
            names.sort_unstable();
            names.dedup();
            prop_assert_eq!(names.len(), row.cells.len());
            for cell in &row.cells {
                prop_assert!((0..=NOW + DAY).contains(&cell.observed_at));
                prop_assert!(cell.expires_at.is_after(cell.observed_at));
                prop_assert!(!row.feature(cell).is_empty());
            }
        }
    }

    /// Seen to fail with the sources left out, and with the columns of times not read.
    #[test]
    fn a_table_in_arrow_form_makes_the_rows_that_its_row_form_makes((rows, arrow) in any_table(), list in any::<bool>()) {
        let features = list.then(|| vec![
            Feature { dtype: Some(DataType::Int64), ..feature("user.number") },
            Feature { dtype: Some(DataType::Float64), cache_strategy: CacheStrategy::EvictNulls, ..feature("user.a") },
            Feature { store_online: Some(false), ..feature("user.off") },
        ]);
        let of = |table| {
            let decoded = decode_with(environment(features.clone()), result(vec![table]));
            (format!("{:?}", decoded.rows), decoded.refused)
        };
        prop_assert_eq!(of(arrow), of(rows));
    }
}
