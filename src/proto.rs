//! The published messages of `proto/`, generated at build time, with their proto3 JSON mapping.
#![allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]

pub mod pubsub {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/chalk.pubsub.v1.rs"));
        include!(concat!(env!("OUT_DIR"), "/chalk.pubsub.v1.serde.rs"));
    }
}
