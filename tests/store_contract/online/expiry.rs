//! What happens at and after the end of a value's life.

use std::time::Duration;

use super::place::{FAR, Named, Place, cell, entity, int, now, on_every_store, read, row, stored, until, value};

const DAY: i64 = 86_400_000_000;

/// Cells that had expired when they came: long ago, at the beginning of time, and before it.
fn expired(feature: &str, observed_at: i64, number: i64) -> [Named; 4] {
    [now() - 1, 1, 0, i64::MIN].map(|end| until(end, cell(feature, observed_at, int(number))))
}

#[tokio::test]
async fn a_value_that_has_expired_is_not_stored() {
    on_every_store(async |place| {
        let store = place.store();
        for cell in expired("a", now() - DAY, 1) {
            let outcome = stored(&*store, &[row(entity("42"), vec![cell])]).await;
            assert_eq!((outcome.stored, outcome.stale), (0, 1));
            assert!(read(&*store, &entity("42")).await.is_empty());
        }
    })
    .await;
}

#[tokio::test]
async fn an_expired_value_takes_an_older_one_with_it_and_nothing_else() {
    on_every_store(async |place| {
        let store = place.store();
        for (at, gone) in expired("a", now() - DAY, 2).into_iter().enumerate() {
            let user = entity(&format!("{at}"));
            let both = |time| vec![cell("a", time, int(1)), until(FAR, cell("b", time, int(1)))];
            stored(&*store, &[row(user.clone(), both(gone.1.observed_at - 1))]).await;
            stored(&*store, &[row(user.clone(), vec![gone.clone()])]).await;
            assert_eq!(value(&*store, &user, "a").await, None, "an older value would come back to life");
            assert_eq!(value(&*store, &user, "b").await, Some(int(1)));

            stored(&*store, &[row(user.clone(), both(gone.1.observed_at + 1))]).await;
            stored(&*store, &[row(user.clone(), vec![gone])]).await;
            assert_eq!(value(&*store, &user, "a").await, Some(int(1)), "a newer value stays");
        }
    })
    .await;
}

#[tokio::test]
async fn an_expired_value_beside_live_ones_of_its_row_changes_nothing_for_them() {
    on_every_store(async |place| {
        let store = place.store();
        let [gone, ..] = expired("a", 5, 1);
        stored(&*store, &[row(entity("42"), vec![gone, until(FAR, cell("b", 5, int(2)))])]).await;
        assert_eq!(value(&*store, &entity("42"), "a").await, None);
        assert_eq!(value(&*store, &entity("42"), "b").await, Some(int(2)));
    })
    .await;
}

#[tokio::test]
async fn a_late_tombstone_still_removes_what_is_older() {
    on_every_store(async |place| {
        let store = place.store();
        stored(&*store, &[row(entity("42"), vec![cell("a", 10, int(1)), cell("b", 10, int(1))])]).await;
        stored(&*store, &[row(entity("42"), vec![until(now() - DAY, cell("a", 20, None))])]).await;
        assert_eq!(value(&*store, &entity("42"), "a").await, None);
        assert_eq!(value(&*store, &entity("42"), "b").await, Some(int(1)));
    })
    .await;
}

#[tokio::test]
async fn what_expires_in_the_store_goes_and_what_never_expires_stays() {
    on_every_store(async |place| {
        let store = place.store();
        let soon = now() + 300_000;
        stored(&*store, &[row(entity("short"), vec![until(soon, cell("a", 10, int(1)))])]).await;
        stored(&*store, &[row(entity("mixed"), vec![until(soon, cell("a", 10, int(1))), cell("b", 10, int(1))])]).await;
        assert_eq!(value(&*store, &entity("short"), "a").await, Some(int(1)));
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while value(&*store, &entity("short"), "a").await.is_some() {
            assert!(tokio::time::Instant::now() < deadline, "an expired value is never removed");
            tokio::time::sleep(Duration::from_millis(20)).await;
            // SQLite looks for expired values behind each batch.
            stored(&*store, &[row(entity("other"), vec![cell("a", 10, int(1))])]).await;
        }
        assert!(now() > soon, "no value goes before its time");
        assert_eq!(value(&*store, &entity("mixed"), "b").await, Some(int(1)));
    })
    .await;
}

#[tokio::test]
async fn a_tombstone_stays_until_its_own_end() {
    on_every_store(async |place| {
        let store = place.store();
        stored(&*store, &[row(entity("42"), vec![until(now() + DAY, cell("a", 10, None))])]).await;
        for round in 0..20 {
            stored(&*store, &[row(entity(&format!("{round}")), vec![cell("a", 10, int(1))])]).await;
        }
        assert_eq!(value(&*store, &entity("42"), "a").await, Some(None));
    })
    .await;
}

#[tokio::test]
async fn expired_values_are_swept_from_a_table_of_many_stretches() {
    let place = Place::start("sqlite");
    let store = place.store();
    let soon = now() + 1_500_000;
    let rows: Vec<_> = (0..3_500)
        .map(|at| {
            let end = if at % 7 == 0 { FAR } else { soon };
            row(entity(&format!("{at:05}")), vec![until(end, cell("a", 10, int(at)))])
        })
        .collect();
    stored(&*store, &rows).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let count = || {
        let path = place.uri().trim_start_matches("sqlite://").to_owned();
        let file = rusqlite::Connection::open(path).expect("the file");
        file.query_row("SELECT count(*) FROM online_features", [], |row| row.get::<_, i64>(0)).expect("a count")
    };
    while count() > 501 {
        assert!(tokio::time::Instant::now() < deadline, "{} are left", count());
        stored(&*store, &[row(entity("other"), vec![cell("a", 10, int(1))])]).await;
    }
    assert_eq!(count(), 501, "500 that live on and the one that kept writing");
}
