//! Background persistence writers: from the message bus of a feature platform into its stores.

pub mod bus;
pub mod cli;
pub mod config;
pub mod dead_letter;
pub mod decode;
pub mod generate;
pub mod message;
mod nearest;
pub mod proto;
pub mod result;
pub mod row;
pub mod runtime;
pub mod sink;
pub mod store;
pub mod telemetry;
pub mod value;
pub mod writer;
pub mod writer_type;
