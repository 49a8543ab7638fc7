//! The store that keeps nothing.

use crate::store::description::{Store, Takes};
use crate::store::durability::Durability;
use crate::store::online::blackhole;

pub(super) static STORE: Store = Store {
    name: "the black hole",
    schemes: &[blackhole::SCHEME],
    durability: Durability::Nowhere,
    online: Some(Takes { absorbs_repeats: true, open: blackhole::open }),
    ..Store::NONE
};
