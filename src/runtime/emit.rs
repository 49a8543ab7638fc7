//! What a pipeline that publishes is told: how rows become messages, and where those go.

use std::sync::Arc;

use crate::bus::Publisher;
use crate::message::{Outgoing, Partition};
use crate::sink::{Refusal, Row};

/// Makes messages of rows.
pub trait Emit<R: Row>: Send + Sync {
    /// What the rows of one partition in a batch come to. Each row has the number of its message in the
    /// batch, by which the message is refused; a refused message adds nothing to what is published.
    ///
    /// `id` is the batch's own, and another one when its messages are read again.
    fn emit(&self, id: &str, partition: &Partition, rows: &[(usize, &R)]) -> Emitted;
}

/// What rows came to.
#[derive(Debug, Default)]
pub struct Emitted {
    /// To be published, in this order.
    pub messages: Vec<Outgoing>,
    /// Messages of the batch that can never be published, and why.
    pub refused: Vec<(usize, Refusal)>,
}

/// Where a pipeline publishes what it makes, in place of destinations.
pub struct Emission<R: Row> {
    /// What people know it by (`topic metrics`).
    pub name: String,
    /// What makes the messages.
    pub emit: Arc<dyn Emit<R>>,
    /// Publishes them where the subscription has no transactions: then a crash between that and the
    /// acknowledgement publishes them again.
    pub publisher: Arc<dyn Publisher>,
}
