//! The line that shows how a drain gets on: in a terminal always there, in a log once a minute.

use std::convert::Infallible;
use std::io::IsTerminal;
use std::time::Duration;

use crate::telemetry::logs;
use crate::telemetry::watched::Watched;

use super::output::grouped;

/// Between two lines of a log.
const LOGGED: Duration = Duration::from_secs(60);

/// Shows the line until it is dropped.
pub(super) async fn show(writer: &Watched) -> Infallible {
    if !std::io::stderr().is_terminal() {
        loop {
            tokio::time::sleep(LOGGED).await;
            tracing::info!("{}", line(writer));
        }
    }
    let _clear = Clear;
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    loop {
        tick.tick().await;
        logs::show_progress(&line(writer));
    }
}

fn line(writer: &Watched) -> String {
    let state = writer.health.state();
    let rate = writer.rate(Duration::from_secs(10));
    let mut line = format!(
        "{}: {} messages done, {}/s",
        writer.identity.writer,
        grouped(state.acknowledged),
        grouped(rate.round() as u64)
    );
    if let Some(left) = writer.lag_messages() {
        line += &format!(", {} to go", grouped(left));
    }
    if state.buried > 0 {
        line += &format!(", {} in the dead letter topic", grouped(state.buried));
    }
    if let Some((part, trouble)) = state.troubles.iter().next() {
        line += &format!(" · {part}: {}", super::output::shortened(&trouble.reason, 60));
    }
    line
}

struct Clear;

impl Drop for Clear {
    fn drop(&mut self) {
        logs::show_progress("");
    }
}
