//! Which value stands: the same whatever the order, the cut, the repetition and the number of writers.
//!
//! Seen to fail when the script wrote unread what was not newer, or as old as, or shorter-lived than
//! the guard; compared only half a time, only the common length of two values, or no expiry on a tie;
//! did not rank null; never measured a key's expiry again; when the statement replaced blindly or did
//! not rank null; and when collapsing went by arrival or did not rank null.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chalk_writer::row::feature::{Entity, FeatureCell, FeatureRow};
use chalk_writer::store::online::{OnlineStore, StoredFeature};
use chalk_writer::value::Value;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::place::{
    FAR, Named, Place, cell, entity, int, on_every_store, read, row, stored, unique, until, value, write,
};

/// What should stand in the end, kept in the plainest way.
struct Model<'a> {
    place: &'a Place,
    stands: BTreeMap<(Entity, String), FeatureCell>,
}

impl<'a> Model<'a> {
    fn new(place: &'a Place) -> Self {
        Self { place, stands: BTreeMap::new() }
    }

    fn write(&mut self, rows: &[FeatureRow]) {
        for row in rows {
            for cell in &row.cells {
                let key = (row.entity.clone(), row.feature(cell).to_owned());
                if self.stands.get(&key).is_none_or(|old| self.order(cell, old).is_gt()) {
                    self.stands.insert(key, cell.clone());
                }
            }
        }
    }

    fn order(&self, new: &FeatureCell, old: &FeatureCell) -> Ordering {
        let rank = |cell: &FeatureCell| match &cell.value {
            None => (0, Vec::new()),
            Some(Value::Null) => (1, Vec::new()),
            Some(value) => (2, self.place.encoded(value)),
        };
        (new.observed_at, rank(new), new.expires_at).cmp(&(old.observed_at, rank(old), old.expires_at))
    }

    async fn must_stand_in(&self, store: &dyn OnlineStore) {
        let entities: BTreeSet<&Entity> = self.stands.keys().map(|(entity, _)| entity).collect();
        for entity in entities {
            let expected: BTreeMap<String, StoredFeature> = self
                .stands
                .iter()
                .filter(|((of, _), _)| of == entity)
                .map(|((_, feature), cell)| {
                    let stored = StoredFeature {
                        feature: feature.clone(),
                        observed_at: cell.observed_at,
                        expires_at: cell.expires_at.time(),
                        value: cell.value.clone(),
                    };
                    (feature.clone(), stored)
                })
                .collect();
            assert_eq!(read(store, entity).await, expected);
            if matches!(self.place, Place::Redis(_) | Place::Valkey(_) | Place::Cluster(..)) {
                super::redis_layout::must_be_exact(self.place, entity, expected.values());
            }
        }
    }
}

fn any_value() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        Just(None),
        Just(Some(Value::Null)),
        Just(Some(Value::Bool(false))),
        (-40..300_i64).prop_map(int),
        prop::sample::select(vec!["", "a", "B", "a\0", "é", "null", "\u{10ffff}"])
            .prop_map(|text| Some(Value::text(text))),
        prop::sample::select(vec![-1.5, 0.0, 1e300]).prop_map(|number| Some(Value::Double(number))),
        Just(Some(Value::List(vec![]))),
        Just(Some(Value::Struct(vec![("a".into(), Value::Null)]))),
    ]
}

fn any_cell() -> impl Strategy<Value = Named> {
    (
        prop::sample::select(vec!["a", "b", "c", "d"]),
        // Times close to one another, and on both sides of 32 bits and of what a double holds.
        prop_oneof![0..6_i64, 0xffff_fffe..0x1_0000_0002_i64, 0x20_0000_0000_0000..0x20_0000_0000_0003_i64],
        any_value(),
        prop_oneof![Just(None), (0..3_i64).prop_map(|ahead| Some(FAR + ahead)), Just(Some(i64::MAX - 1))],
    )
        .prop_map(|(feature, observed_at, value, expires_at)| {
            let (feature, cell) = cell(feature, observed_at, value);
            (feature, FeatureCell { expires_at: expires_at.into(), ..cell })
        })
}

fn any_row() -> impl Strategy<Value = FeatureRow> {
    (prop::sample::select(vec!["1", "2"]), prop::collection::vec(any_cell(), 1..5)).prop_map(|(key, cells)| {
        let distinct: BTreeMap<_, _> = cells.into_iter().collect();
        row(entity(key), distinct.into_iter().collect())
    })
}

/// Batches as the runtime makes them: no two rows of one entity in one.
fn batches(rows: &[FeatureRow]) -> Vec<Vec<FeatureRow>> {
    let mut batches: Vec<Vec<FeatureRow>> = vec![Vec::new()];
    for row in rows {
        let last = batches.last_mut().expect("never empty");
        if last.iter().any(|other| other.entity == row.entity) {
            batches.push(vec![row.clone()]);
        } else {
            last.push(row.clone());
        }
    }
    batches
}

/// Without what the store of the place refuses.
fn for_place(place: &Place, mut rows: Vec<FeatureRow>) -> Vec<FeatureRow> {
    for cell in rows.iter_mut().flat_map(|row| &mut row.cells) {
        if let Some(Value::Text(text)) = &cell.value
            && text.contains('\0')
            && !place.holds_nul()
        {
            cell.value = Some(Value::text(text.replace('\0', "\u{1}")));
        }
    }
    rows
}

fn in_environment(rows: &[FeatureRow], environment: &str) -> Vec<FeatureRow> {
    let mut rows = rows.to_vec();
    for row in &mut rows {
        row.entity.environment = environment.into();
    }
    rows
}

#[test]
fn every_order_cut_repetition_and_number_of_writers_ends_in_the_models_state() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    for place in Place::of_every_store() {
        let stores: Vec<Arc<dyn OnlineStore>> = {
            let _inside = runtime.enter();
            (0..3).map(|_| place.store()).collect()
        };
        let config = ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() };
        let writes = prop::collection::vec(any_row(), 1..12)
            .prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle()));
        TestRunner::new(config)
            .run(&writes, |(rows, shuffled)| {
                let (rows, shuffled) = (for_place(&place, rows), for_place(&place, shuffled));
                runtime.block_on(async {
                    // In order of arrival, and everything once more.
                    let (first, second, third) = (unique("e"), unique("e"), unique("e"));
                    let mut model = Model::new(&place);
                    let ordered = in_environment(&rows, &first);
                    model.write(&ordered);
                    for batch in batches(&ordered) {
                        stored(&*stores[0], &batch).await;
                    }
                    model.must_stand_in(&*stores[0]).await;
                    for batch in batches(&ordered) {
                        assert_eq!(stored(&*stores[1], &batch).await.stored, 0, "a repetition changes nothing");
                    }
                    model.must_stand_in(&*stores[0]).await;

                    // In another order, by three writers at once.
                    let shuffled = in_environment(&shuffled, &second);
                    let mut model = Model::new(&place);
                    model.write(&shuffled);
                    let writers = stores.iter().enumerate().map(|(number, store)| {
                        let mine: Vec<_> = shuffled.iter().skip(number).step_by(3).cloned().collect();
                        let store = store.clone();
                        tokio::spawn(async move {
                            for batch in batches(&mine) {
                                super::place::stored_at_last(&*store, &batch).await;
                            }
                        })
                    });
                    for writer in writers.collect::<Vec<_>>() {
                        writer.await.expect("a writer that ends");
                    }
                    model.must_stand_in(&*stores[2]).await;

                    // Collapsed into one row an entity.
                    let collapsed = in_environment(&rows, &third);
                    let mut model = Model::new(&place);
                    model.write(&collapsed);
                    let mut by_entity: BTreeMap<Entity, Vec<&FeatureRow>> = BTreeMap::new();
                    for row in &collapsed {
                        by_entity.entry(row.entity.clone()).or_default().push(row);
                    }
                    let batch: Vec<FeatureRow> =
                        by_entity
                            .into_values()
                            .map(|rows| {
                                if rows.len() > 1 {
                                    stores[0].collapse(&rows[0].entity, &rows)
                                } else {
                                    rows[0].clone()
                                }
                            })
                            .collect();
                    stored(&*stores[0], &batch).await;
                    model.must_stand_in(&*stores[0]).await;
                });
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{}: {error}", place.uri()));
    }
}

#[tokio::test]
async fn an_older_value_never_replaces_a_newer_one() {
    on_every_store(async |place| {
        let store = place.store();
        let user = entity("42");
        let outcome = stored(&*store, &[row(user.clone(), vec![cell("a", 20, int(2)), cell("b", 20, int(2))])]).await;
        assert_eq!((outcome.stored, outcome.stale), (2, 0));
        let outcome = stored(&*store, &[row(user.clone(), vec![cell("a", 10, int(1)), cell("b", 30, int(3))])]).await;
        assert_eq!((outcome.stored, outcome.stale), (1, 1));
        assert_eq!(value(&*store, &user, "a").await, Some(int(2)));
        assert_eq!(value(&*store, &user, "b").await, Some(int(3)));
    })
    .await;
}

#[tokio::test]
async fn a_tombstone_keeps_older_values_away_and_yields_to_newer_ones() {
    on_every_store(async |place| {
        let store = place.store();
        let user = entity("42");
        stored(&*store, &[row(user.clone(), vec![cell("a", 10, int(1))])]).await;
        stored(&*store, &[row(user.clone(), vec![until(FAR, cell("a", 20, None))])]).await;
        assert_eq!(value(&*store, &user, "a").await, Some(None));
        stored(&*store, &[row(user.clone(), vec![cell("a", 15, int(3))])]).await;
        assert_eq!(value(&*store, &user, "a").await, Some(None));
        stored(&*store, &[row(user.clone(), vec![cell("a", 20, Some(Value::Null))])]).await;
        assert_eq!(value(&*store, &user, "a").await, Some(Some(Value::Null)), "null is larger than a tombstone");
        stored(&*store, &[row(user.clone(), vec![cell("a", 20, int(-5))])]).await;
        assert_eq!(value(&*store, &user, "a").await, Some(int(-5)), "any other value is larger than null");
        stored(&*store, &[row(user.clone(), vec![cell("a", 21, None)])]).await;
        assert_eq!(value(&*store, &user, "a").await, Some(None));
    })
    .await;
}

#[tokio::test]
async fn writers_at_once_on_a_new_store_converge() {
    on_every_store(async |place| {
        let writers: Vec<_> = (0..8_i64)
            .map(|number| {
                let store = place.store();
                tokio::spawn(async move {
                    for round in 0..20_i64 {
                        let time = (round * 7 + number * 13) % 101;
                        let cells = vec![cell("a", time, int(time)), cell("b", 1000 - time, int(time))];
                        super::place::stored_at_last(&*store, &[row(entity("42"), cells)]).await;
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.expect("a writer that ends");
        }
        let times: BTreeSet<i64> =
            (0..8).flat_map(|number| (0..20).map(move |round| (round * 7 + number * 13) % 101)).collect();
        let store = place.store();
        assert_eq!(value(&*store, &entity("42"), "a").await, Some(int(*times.last().expect("some"))));
        assert_eq!(value(&*store, &entity("42"), "b").await, Some(int(*times.first().expect("some"))));
    })
    .await;
}

#[tokio::test]
async fn one_bad_row_of_a_batch_fails_alone() {
    on_every_store(async |place| {
        let store = place.store();
        let huge = Value::Bytes(vec![0; chalk_writer::store::online::LARGEST_VALUE + 1].into());
        let rows = [
            row(entity("1"), vec![cell("a", 1, int(1))]),
            row(entity("2"), vec![cell("a", 1, int(1)), cell("b", -1, int(1))]),
            row(entity("3"), vec![cell("a", 1, Some(huge))]),
            row(entity("4"), vec![cell("", 1, int(1))]),
            row(entity("5"), vec![]),
            row(entity("6"), vec![cell("a", 1, int(1))]),
        ];
        let outcome = write(&*store, &rows).await.expect("a write that succeeds");
        let refused: Vec<(usize, &str)> =
            outcome.refused.iter().map(|(row, refusal)| (*row, refusal.class.as_str())).collect();
        assert_eq!(refused, [(1, "VALUE_REFUSED"), (2, "TOO_LARGE"), (3, "VALUE_REFUSED")]);
        assert_eq!((outcome.stored, outcome.stale), (2, 0));
        assert_eq!(value(&*store, &entity("6"), "a").await, Some(int(1)));
        assert!(read(&*store, &entity("2")).await.is_empty(), "a refused row leaves nothing");
    })
    .await;
}
