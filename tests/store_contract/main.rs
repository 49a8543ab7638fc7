//! What every store keeps to, whichever it is: one suite a kind, over everything in its registry.

#[path = "../services/certificates.rs"]
mod certificates;
#[path = "../services/logs.rs"]
mod logs;
mod offline;
mod online;
#[path = "../services/postgres/server.rs"]
mod postgres;
#[path = "../services/proxy.rs"]
mod proxy;
#[path = "../services/redis.rs"]
mod redis;
#[path = "../services/redis_cluster.rs"]
mod redis_cluster;
mod tables;
mod usage;
mod vector;
