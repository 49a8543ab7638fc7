//! A series of messages of any kind.

use std::path::PathBuf;

use super::draft::Draft;
use super::kind::Kind;
use super::options::Options;
use super::results::Generator;
use super::{inserts, loads, metrics, metrics_v4, nodes, pods, queries, query_log, usage, vectors};
use crate::message::Outgoing;

/// A message, and the files that it tells of.
#[derive(Debug)]
pub struct Made {
    /// The message.
    pub message: Outgoing,
    /// Files that are to be there before it is published: path and content. Only of [`Kind::BulkInsert`].
    pub files: Vec<(PathBuf, Vec<u8>)>,
}

/// An endless series of messages of one kind.
#[derive(Debug)]
pub struct Messages {
    kind: Kind,
    results: Generator,
    draft: Draft,
    /// The folder of files.
    folder: PathBuf,
}

impl Messages {
    /// A series of its own for each seed; files are to be in `folder`, which is absolute.
    pub fn new(kind: Kind, seed: u64, options: Options, folder: PathBuf) -> Self {
        Self { kind, results: Generator::new(seed, options.clone()), draft: Draft::new(seed, options), folder }
    }
}

impl Iterator for Messages {
    type Item = Made;

    fn next(&mut self) -> Option<Made> {
        let draft = &mut self.draft;
        let mut files = Vec::new();
        let message = match self.kind {
            Kind::Result => self.results.next()?,
            Kind::Metrics => metrics::message(draft),
            Kind::MetricsV4 => metrics_v4::message(draft),
            Kind::Query => queries::row(draft),
            Kind::QueryError => queries::query_error(draft),
            Kind::ResolverError => queries::resolver_error(draft),
            Kind::StreamingInsert => inserts::message(draft),
            Kind::BulkInsert => loads::message(draft, &self.folder, &mut files),
            Kind::Usage => usage::message(draft),
            Kind::NodeStatus => nodes::message(draft),
            Kind::PodStatus => pods::message(draft),
            Kind::QueryLog => query_log::message(draft),
            Kind::Vectors => vectors::message(draft),
        };
        self.draft.number += 1;
        Some(Made { message, files })
    }
}
