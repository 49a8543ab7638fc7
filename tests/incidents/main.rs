//! Bad nights, from the built binary and against real servers: passwords that change, stores that are slow or away when a
//! writer is to stop, rolling restarts; and what others of this kind were reported for (`peers`).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::float_cmp, reason = "metrics that count are whole numbers")]

#[path = "../services/certificates.rs"]
mod certificates;
#[path = "../services/clouds.rs"]
mod clouds;
#[path = "../services/postgres/server.rs"]
mod postgres;
#[path = "../services/proxy.rs"]
mod proxy;
#[path = "../services/redis.rs"]
mod redis;
#[allow(dead_code, reason = "the suite of the command line uses all of it")]
#[path = "../cli/setup.rs"]
mod setup;

#[allow(dead_code, reason = "the torture checker uses all of it")]
#[path = "../torture/clock.rs"]
mod told;

mod clock;
mod credentials;
mod kit;
mod lake;
mod metadata;
mod parking;
mod peers;
mod rolling;
mod secrets;
mod stopping;
