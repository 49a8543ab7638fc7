//! The mirror: queries that were logged are asked again, and their answers compared.
//!
//! A [`Query`] is read from the log, [sampled](is_sampled) by the hash of its id, and asked through a [`Client`] as
//! Chalk's own clients would ask it: as JSON, or as [tables](feather) where it has many rows. Whether it may be asked
//! at all is the [`Valve`]'s to say, so that the server is never hurt by being mirrored. What came of it is an
//! [outcome](outcome::outcome): both answers, and the [differences](compare) between them.
//!
//! Nothing here knows of buses, batches or settings: the writer of that name puts them together.

pub mod answer;
mod bucket;
pub mod client;
pub mod compare;
mod feather;
mod mirrored;
mod object;
pub mod outcome;
mod pace;
mod query;
mod room;
mod sample;
mod stance;
pub mod tally;
mod token;
mod transmit;
mod valve;

pub use answer::{Answer, Form};
pub use client::{Client, Reply};
pub use mirrored::Mirrored;
pub use query::{Query, TAG};
pub use sample::is_sampled;
pub use stance::Stance;
pub use tally::{Tally, Verdict};
pub use token::Credentials;
pub use valve::{Admission, BACKING_OFF, Limits, RATE, Ticket, Valve};
