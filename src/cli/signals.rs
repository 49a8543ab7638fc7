//! SIGTERM and SIGINT: the first asks a writer to stop, the second does not wait for it.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The two signals that ask a process to end, heard from now on.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Starts to listen: from here on neither signal ends the process by itself.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one and names it. Cancel-safe: a dropped call loses no signal.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Cancels at the first signal, and returns at the second. Not to be dropped between both.
    pub async fn second(&mut self, shutdown: &CancellationToken) -> &'static str {
        if !shutdown.is_cancelled() {
            let first = self.next().await;
            tracing::info!("{first}: writing what is at hand; a second signal ends at once");
            shutdown.cancel();
        }
        self.next().await
    }
}
