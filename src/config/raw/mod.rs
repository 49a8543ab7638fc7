//! The file as it is written: every field optional, nothing judged.
//!
//! These types are the one source of what the file may hold: their JSON Schema is what the walk
//! checks a file against, what `schema` prints, and where known names, aliases and the list of
//! unused fields come from. Marks in the schema:
//!
//! - `x-aliases`: other names of the field; `x-deprecated`: those of them that are deprecated.
//! - `x-unused`: the field is Chalk's, and nothing here uses it.
//! - `x-read-by`: only writers of these types use it; it is unused as long as none of them is in this version.
//! - `x-plain-env`: also read from the environment variable of its upper-cased name.
//! - `x-secret`: never shown.

mod common;
mod deployment;
mod environment;
mod pubsub;
mod tuning;
mod writer;

pub(super) use common::RawCommon;
pub(super) use deployment::RawDeployment;
pub(super) use environment::{RawEnvironment, RawFeature, RawMetricsStore};
pub(super) use pubsub::RawPubsub;
pub(super) use tuning::RawTuning;
pub(super) use writer::RawWriter;

pub(super) use super::leaf::given as get;
use super::leaf::{Given, Maybe};
