//! Tables of features whose names are anything, and never one another's.

use std::sync::Arc;

use chalk_writer::row::vector::{VectorFeature, VectorKey};

use super::place::{key, places, row, singles, stored, vector};

#[tokio::test]
async fn features_of_any_name_have_tables_of_their_own() {
    for place in places() {
        let store = place.store();
        let features = [
            ("a__b", "c"),
            ("a", "b__c"),
            ("A", "b__c"),
            ("a", "b__c@2"),
            ("a", "b__c__v2"),
            ("a", "b__c~1"),
            ("select", "from \"where\"; --"),
            ("é'", "x.y.z"),
            (&"n".repeat(80), "one"),
            (&"n".repeat(80), "two"),
        ];
        let key = |(namespace, name): (&str, &str)| VectorKey {
            feature: Arc::new(VectorFeature { namespace: namespace.into(), name: name.into() }),
            ..key("", "1")
        };
        let numbered = |at: usize| singles(&vec![at as f32 + 1.0; at + 1]);
        let rows: Vec<_> = features.iter().enumerate().map(|(at, of)| row(key(*of), 1, numbered(at))).collect();
        stored(&*store, &rows).await;
        for (at, of) in features.iter().enumerate() {
            assert_eq!(vector(&*store, &key(*of)).await, Some(numbered(at)), "{of:?} in {}", place.uri());
        }
    }
}
