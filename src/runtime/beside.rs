//! Two pipelines of one writer: that of its topic, and beside it that of what was parked.

use async_trait::async_trait;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Pipeline, PipelineError, Run};
use crate::bus::PartitionStatus;
use crate::sink::Row;

/// Messages that are parked and not read back yet, as far as this process reads them.
const WAITING: &str = "chalk_writer_parked_waiting_messages";

/// A writer that parks.
pub struct Beside<R: Row> {
    /// What it reads.
    pub main: Pipeline<R>,
    /// What it reads back.
    pub parked: Pipeline<R>,
}

#[async_trait]
impl<R: Row> Run for Beside<R> {
    fn status(&self) -> watch::Receiver<Vec<PartitionStatus>> {
        self.main.status()
    }

    /// Either that fails ends the other in order: what is parked must not wait for nobody.
    async fn run(self: Box<Self>, shutdown: CancellationToken) -> Result<(), PipelineError> {
        let Self { main, parked } = *self;
        let (both, mut status) = (shutdown.child_token(), parked.status());
        let run = async |pipeline: Box<Pipeline<R>>| {
            let ended = pipeline.run(both.clone()).await;
            if ended.is_err() {
                both.cancel();
            }
            ended
        };
        let waiting = async {
            loop {
                let left: i64 = status.borrow_and_update().iter().filter_map(left).sum();
                metrics::gauge!(WAITING).set(left as f64);
                if status.changed().await.is_err() {
                    return std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            (main, parked) = async { tokio::join!(run(Box::new(main)), run(Box::new(parked))) } => {
                main?;
                parked
            }
            () = waiting => Ok(()),
        }
    }
}

fn left(partition: &PartitionStatus) -> Option<i64> {
    let (position, end) = partition.position.zip(partition.end)?;
    Some((end - position).max(0))
}
