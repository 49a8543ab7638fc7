//! Configuration: one JSON file for a whole deployment, out of which a process picks one writer.

pub mod secret;
pub mod settings;
