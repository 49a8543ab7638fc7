//! Background persistence writers: from the message bus of a feature platform into its stores.
//!
//! # The story of one message
//! 1. A [`bus`] delivers it as a [`message`]: bytes, headers, a position, and a number in the order
//!    of arrival. It knows nothing of what the bytes mean.
//! 2. The [`runtime`] gives it to the writer's decoder ([`decode`]), which reads the [`result`] in it
//!    and makes rows ([`row`]) of typed values ([`value`]), or verdicts ([`sink::Refusal`]) on what
//!    can never be written. No I/O happens here.
//! 3. The runtime keeps message and rows in a batch. A full or old batch is written to the [`store`]s
//!    through [`sink::Sink`], and what a store refuses for good is buried as a [`dead_letter`]. Or it is
//!    published ([`runtime::Emit`]), in one transaction with the positions that it was read from.
//! 4. When all of a batch is durable or buried (or parked, where its store is away for long and people chose that), one
//!    number is acknowledged to the bus: everything up to here.
//!
//! A [`writer`] is what puts these together: it names a decoder, a kind of row and the stores of an
//! environment as the [`config`] has them. [`cli`] and [`telemetry`] are how people see all of it;
//! [`mod@generate`] makes messages for trying it; [`proto`] holds the published messages; [`insert`] reads the
//! parquet bodies of streaming inserts and says where their rows go; [`sketch`] keeps distributions in little
//! space, for metrics; [`mirror`] asks logged queries again; [`tls`] is how stores are spoken to in private
//! (and `http` how servers are that speak HTTP); [`google`] is who we are to Google, and [`secrets`] asks secret
//! managers; [`metadata`] has environments described elsewhere than in the file.
//!
//! Who may use whom is a table in `tests/layers`, kept by a test.

pub mod bus;
mod causes;
pub mod cli;
pub mod config;
mod cut;
pub mod dead_letter;
pub mod decode;
pub mod generate;
pub mod google;
mod http;
pub mod insert;
pub mod message;
pub mod metadata;
pub mod mirror;
mod nearest;
mod panics;
pub mod proto;
pub mod result;
pub mod row;
pub mod runtime;
pub mod secrets;
pub mod sink;
pub mod sketch;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod value;
pub mod writer;
pub mod writer_type;
