//! The contract of online stores. A store without a line in [`Place::start`] fails every test here.

mod expiry;
mod faults_redis;
mod faults_sqlite;
mod keeps_nothing;
mod order;
mod place;
mod redis_layout;
mod values;
