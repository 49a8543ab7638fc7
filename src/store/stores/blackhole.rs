//! The store that keeps nothing.

use crate::store::description::{Store, Takes};
use crate::store::online::blackhole;

pub(super) static STORE: Store = Store {
    name: "the black hole",
    schemes: &[blackhole::SCHEME],
    keeps_nothing: true,
    online: Some(Takes { absorbs_repeats: true, open: blackhole::open }),
    ..Store::NONE
};
