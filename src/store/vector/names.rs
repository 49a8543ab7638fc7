//! What the table of a feature is called: `vectors_<namespace>__<feature>`, as long as nothing else is.

use xxhash_rust::xxh3::xxh3_64;

use crate::row::vector::VectorFeature;
use crate::store::postgres::LONGEST_NAME;

/// Where readers find the tables of all features.
pub(super) const TABLES: &str = "vector_tables";

/// Names to be tried in order, until one is free. They are no longer than the servers take, and the second is of
/// this feature alone. `@2` is written `__v2` and `~1` is `__i1`, as in the columns of offline stores.
pub(super) fn candidates(feature: &VectorFeature) -> [String; 2] {
    let VectorFeature { namespace, name } = feature;
    let readable = format!("vectors_{namespace}__{}", name.replace('@', "__v").replace('~', "__i"));
    let own = format!("_{:016x}", xxh3_64(format!("{namespace}\0{name}").as_bytes()));
    let cut = &readable[..readable.floor_char_boundary(LONGEST_NAME - own.len())];
    let hashed = format!("{cut}{own}");
    [if readable.len() <= LONGEST_NAME { readable } else { hashed.clone() }, hashed]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_read_and_one_that_is_taken_gets_a_hash() {
        let names =
            |namespace: &str, name: &str| candidates(&VectorFeature { namespace: namespace.into(), name: name.into() });
        assert_eq!(names("user", "embedding")[0], "vectors_user__embedding");
        assert_eq!(names("user", "card.photo@2~1")[0], "vectors_user__card.photo__v2__i1");
        let (one, other) = (names("a__b", "c"), names("a", "b__c"));
        assert_eq!(one[0], other[0]);
        assert_ne!(one[1], other[1]);
        let long = names("é", &"é".repeat(40));
        assert!(long[0] == long[1] && long[0].len() <= LONGEST_NAME, "{long:?}");
    }
}
