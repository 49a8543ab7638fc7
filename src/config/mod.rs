//! Configuration: one JSON file for a whole deployment, out of which a process picks one writer.
//!
//! The way of a file: `json` reads it, `walk` checks it against the schema of `raw` and makes
//! one spelling out of every name, `layers` lays environment variables and flags over it, and
//! `examine` judges the whole and turns it into [`settings`].

mod bus;
mod check;
mod choice;
mod contradictions;
mod defaults;
mod environments;
mod errors;
mod examine;
mod found;
mod json;
mod layers;
mod leaf;
mod load;
mod memory;
mod metadata;
mod metrics_stores;
mod mirror;
mod mirroring;
mod modes;
pub mod names;
mod of_type;
pub mod own;
mod path;
mod plain;
mod raw;
mod registry;
mod schema;
mod schemes;
pub mod secret;
pub mod settings;
mod shorten;
mod store_kind;
mod strays;
mod tuning;
mod types;
pub mod units;
mod walk;
mod warning;
mod writers;

pub use check::{CheckReport, CheckedEnvironment, CheckedWriter, check};
pub use defaults::{DefaultValue, defaults};
pub use errors::{ConfigError, ConfigErrors, Problem};
pub use examine::{Text, read};
pub use layers::{Flag, Overrides};
pub use load::{Loaded, Selection, load};
pub use memory::limit as memory_limit;
pub use registry::{OfBuses, Registry, StoreDescription, Twice};
pub use schema::schema;
pub use store_kind::StoreKind;
pub use types::{ListedType, types, types_text};
pub use units::duration as read_duration;
pub use warning::Warning;
