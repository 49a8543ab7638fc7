//! The contract of vector stores. A store without a line in [`Place::start`] fails every test here.

mod fit;
mod nearest;
mod order;
mod place;
mod postgres;
mod sqlite;
mod tables;
