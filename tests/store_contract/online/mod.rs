//! The contract of online stores. A store without a line in [`Place::start`] fails every test here.

mod expiry;
mod faults_cluster;
mod faults_postgres;
mod faults_redis;
mod faults_sqlite;
mod keeps_nothing;
mod order;
mod place;
mod postgres_hosts;
mod postgres_layout;
mod postgres_on_call;
mod postgres_own_code;
mod postgres_rights;
mod redis_access;
mod redis_fields;
mod redis_layout;
mod values;
