//! What every store keeps to, whichever it is: one suite a kind, over everything in its registry.

mod offline;
mod online;
#[path = "../services/redis.rs"]
mod redis;
#[path = "../services/redis_cluster.rs"]
mod redis_cluster;
