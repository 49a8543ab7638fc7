//! Stores of loads: offline stores, as files are loaded into them.
//!
//! They are the stores of [`offline`](super::offline) under the same URIs and with the same tables; what is different is
//! that rows come in files, which the store reads itself, and that a load has an id that lands once.

pub mod work;
