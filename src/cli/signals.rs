//! SIGTERM and SIGINT: the first asks a writer to stop, the second does not wait for it.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The two signals that ask a process to end, heard from now on.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Starts to listen: from here on neither signal ends the process by itself.
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one and names it. Cancel-safe: a dropped call loses no signal.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
