//! Parts of a write, several at a time.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;

use crate::sink::SinkError;

/// What became of the parts of a write.
#[derive(Debug, Default)]
pub(in crate::store) struct Written {
    /// How many values the store now holds.
    pub(in crate::store) stored: u64,
    /// How many left no trace.
    pub(in crate::store) stale: u64,
    /// The first error of any part.
    pub(in crate::store) error: Option<SinkError>,
}

/// Does the parts of a write, so many at a time at the most; each says how many values are stored, and how many left
/// no trace.
///
/// After an error no further part starts, but those under way are waited for: none outlives its write.
pub(in crate::store) async fn fan_out<P, F: Future<Output = Result<(u64, u64), SinkError>>>(
    parts: Vec<P>,
    concurrency: usize,
    work: impl Fn(P) -> F,
) -> Written {
    let failed = AtomicBool::new(false);
    let failed = &failed;
    let mut answers = futures::stream::iter(parts)
        .map(|part| {
            let work = work(part);
            async move {
                if failed.load(Ordering::Relaxed) {
                    return Ok((0, 0));
                }
                let answer = work.await;
                failed.fetch_or(answer.is_err(), Ordering::Relaxed);
                answer
            }
        })
        .buffer_unordered(concurrency.max(1));
    let mut written = Written::default();
    while let Some(answer) = answers.next().await {
        match answer {
            Ok((stored, stale)) => {
                written.stored += stored;
                written.stale += stale;
            }
            Err(error) => {
                written.error.get_or_insert(error);
            }
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn after_an_error_nothing_starts_and_what_is_under_way_ends() {
        let begun = Mutex::new(Vec::new());
        let (fails, waits) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
        let (begun, fails, waits) = (&begun, &fails, &waits);
        let written = fan_out((0..9).collect(), 2, |part: u64| async move {
            begun.lock().expect("no panic").push(part);
            match part {
                0 => Ok((1, 10)),
                1 => {
                    // Not before the other one is under way.
                    fails.notified().await;
                    waits.notify_one();
                    Err(SinkError::Transient { reason: "away".to_owned() })
                }
                _ => {
                    fails.notify_one();
                    waits.notified().await;
                    Ok((100, 0))
                }
            }
        })
        .await;
        assert_eq!(*begun.lock().expect("no panic"), [0, 1, 2]);
        assert_eq!((written.stored, written.stale), (101, 10), "what is stored is counted whatever else failed");
        assert!(matches!(written.error, Some(SinkError::Transient { reason }) if reason == "away"));
    }
}
