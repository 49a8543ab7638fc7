//! What a writer makes of a logged query, and its sink asks.

use std::convert::Infallible;
use std::sync::Arc;

use prost::Message as _;

use super::query::Query;
use crate::proto::writer::v1::LoggedQuery;
use crate::sink::Row;

/// A query that is to be asked again.
#[derive(Clone, Debug)]
pub struct Mirrored {
    /// What names the event that it came in among those of all publishers.
    pub event: String,
    /// The environment that it is asked of.
    pub environment: Arc<str>,
    /// The query as it was logged.
    pub logged: LoggedQuery,
    /// What it asks for.
    pub query: Query,
}

impl Row for Mirrored {
    type Key = Infallible;

    fn key(&self) -> Option<&Infallible> {
        None
    }

    fn destination(&self) -> usize {
        0
    }

    fn rows(&self) -> usize {
        1
    }

    fn size(&self) -> usize {
        // The request is there as text and in parts.
        size_of::<Self>() + self.event.len() + self.logged.encoded_len() + 2 * self.logged.request.len()
    }
}
