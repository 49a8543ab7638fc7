//! The published messages of `proto/`, generated at build time, with their proto3 JSON mapping.
#![allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]

// Generated paths start at the package's first part.
use crate::proto as chalk;

pub mod common {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/chalk.common.v1.rs"));
        include!(concat!(env!("OUT_DIR"), "/chalk.common.v1.serde.rs"));
    }
}

pub mod metrics {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/chalk.metrics.v1.rs"));
        include!(concat!(env!("OUT_DIR"), "/chalk.metrics.v1.serde.rs"));
    }
    pub mod v4 {
        include!(concat!(env!("OUT_DIR"), "/chalk.metrics.v4.rs"));
        include!(concat!(env!("OUT_DIR"), "/chalk.metrics.v4.serde.rs"));
    }
}

pub mod pubsub {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/chalk.pubsub.v1.rs"));
        include!(concat!(env!("OUT_DIR"), "/chalk.pubsub.v1.serde.rs"));
    }
}

/// Ours.
pub mod writer {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/chalk_writer.v1.rs"));
        include!(concat!(env!("OUT_DIR"), "/chalk_writer.v1.serde.rs"));
    }
}
