//! Stores of tables whose rows have keys, for every kind of store that keeps rows: history, and what else comes in
//! tables.

pub mod postgres;
pub mod row_wise;
