//! Redis and Valkey, one server or a cluster.

use crate::config::own::OwnFields;
use crate::store::description::{Store, Takes};
use crate::store::durability::Durability;
use crate::store::online::redis;

pub(super) static STORE: Store = Store {
    name: "Redis",
    schemes: &["redis", "rediss", "valkey", "valkeys"],
    own: OwnFields::of::<redis::Settings>().inherits(&[("clustered", "redis_is_clustered")]),
    online: Some(Takes { absorbs_repeats: true, open: redis::open }),
    durability: Durability::ServersMemory,
    replicas: redis::replicas,
    examine: Some(|_, options| Box::pin(redis::examine(options))),
    ..Store::NONE
};
