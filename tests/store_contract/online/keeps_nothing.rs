//! Stores that keep nothing: every row is taken, none is there, none is counted as stored.

use chalk_writer::store::STORES;

use super::place::{cell, entity, int, row, store, write};

#[tokio::test]
async fn a_store_that_keeps_nothing_takes_every_row_and_counts_none_as_stored() {
    for known in STORES.iter().filter(|store| store.keeps_nothing()) {
        assert!(known.online.is_some(), "{} is tested as an online store, which it is not", known.name);
        let store = store(&format!("{}:", known.schemes[0]));
        let sound = row(entity("42"), vec![cell("a", 10, int(1))]);
        let too_old = row(entity("43"), vec![cell("a", -1, int(1))]);
        let outcome = write(&*store, &[sound.clone(), too_old]).await.expect("it is never away");
        assert_eq!((outcome.stored, outcome.stale, outcome.again.len()), (0, 0, 0));
        let refused: Vec<usize> = outcome.refused.iter().map(|(index, _)| *index).collect();
        assert_eq!(refused, [1], "what no store takes is refused here too");
        assert!(store.read(&entity("42")).await.expect("it is never away").is_empty());
        let newer = row(entity("42"), vec![cell("a", 20, int(2))]);
        assert_eq!(
            store.collapse(&sound.entity, &[&newer, &sound]).cells[0].value,
            int(2),
            "it collapses as other stores do"
        );
    }
}
