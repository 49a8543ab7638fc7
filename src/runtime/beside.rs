//! Two pipelines of one writer: that of its topic, and beside it that of what was parked.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Pipeline, PipelineError, Run};
use crate::bus::PartitionStatus;
use crate::sink::Row;

/// Messages that are parked and not read back yet, as far as this process reads them.
const WAITING: &str = "chalk_writer_parked_waiting_messages";

/// Age of the oldest of them.
const WAITING_FOR: &str = "chalk_writer_parked_waiting_seconds";

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
                let (left, oldest) = waiting_in(&status.borrow_and_update());
                metrics::gauge!(WAITING).set(left as f64);
                metrics::gauge!(WAITING_FOR).set(oldest.as_secs_f64());
                if status.changed().await.is_err() {
                    return std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            (main, parked) = async { tokio::join!(run(Box::new(main)), run(Box::new(parked))) } => {
                main?;
                match parked {
                    // What is parked stays where it is: the group has not passed it.
                    Err(PipelineError::DrainTimeout { .. }) if shutdown.is_cancelled() => Ok(()),
                    ended => ended,
                }
            }
            () = waiting => Ok(()),
        }
    }
}

/// How many messages are not read back yet, and the age of the oldest.
fn waiting_in(partitions: &[PartitionStatus]) -> (i64, Duration) {
    let left = |partition: &PartitionStatus| {
        let (position, end) = partition.position.zip(partition.end)?;
        Some((end - position).max(0))
    };
    let oldest = partitions.iter().map(|partition| partition.lag).max();
    (partitions.iter().filter_map(left).sum(), oldest.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::HeldUp;
    use crate::message::Partition;

    #[test]
    fn what_waits_is_as_old_as_the_oldest_of_all_partitions() {
        let status = |number, position, end, seconds| PartitionStatus {
            partition: Partition { topic: "parked".into(), number },
            position: Some(position),
            end,
            lag: Duration::from_secs(seconds),
            held_up: HeldUp::default(),
        };
        let partitions = [status(0, 3, Some(9), 40), status(1, 5, Some(5), 0), status(2, 1, None, 90)];
        assert_eq!(waiting_in(&partitions), (6, Duration::from_secs(90)));
        assert_eq!(waiting_in(&[]), (0, Duration::ZERO));
    }
}
