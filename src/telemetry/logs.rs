//! Logs on stderr: text for people in a terminal, JSON lines everywhere else.

use std::io::{IsTerminal, Write, stderr};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text in a terminal, JSON otherwise
    #[default]
    Auto,
    /// One line of text per event
    Text,
    /// One JSON object per line
    Json,
}

/// Starts logging. `RUST_LOG` filters; without it, `default_level` and above are shown.
///
/// A second call in one process changes nothing: tests and `demo` share one process.
pub fn start(format: LogFormat, default_level: &str) {
    let filter = filter(std::env::var("RUST_LOG").ok(), default_level);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Stderr).with_target(false);
    let terminal = stderr().is_terminal();
    let _ = match format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Auto if !terminal => builder.json().flatten_event(true).try_init(),
        LogFormat::Auto | LogFormat::Text => {
            builder.with_ansi(terminal && std::env::var_os("NO_COLOR").is_none()).try_init()
        }
    };
}

/// What is asked for; else `default_level`, except of the Redis client and the TLS library, which warn of what their
/// caller is told, and the writer reports, anyway.
fn filter(asked: Option<String>, default_level: &str) -> EnvFilter {
    EnvFilter::builder()
        .with_default_directive(tracing::Level::ERROR.into())
        .parse_lossy(asked.unwrap_or_else(|| format!("{default_level},fred=error,rustls=error")))
}

/// A panic anywhere is one log line, and ends the process with code 1.
///
/// What was not acknowledged is delivered again to the next process. One that lives on with a part
/// of it dead would hold its partitions and do nothing with them.
pub fn end_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        if crate::panics::is_caught() {
            return;
        }
        let text = panic.payload_as_str().unwrap_or("no message");
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(at, "panic: {text}");
        // Without a subscriber, or with one that filters errors away, there would be no word of it.
        if !tracing::enabled!(tracing::Level::ERROR) {
            let _ = writeln!(stderr(), "panic at {at}: {text}");
        }
        std::process::exit(1);
    }));
}

/// Whether the last line of the terminal is a progress line, which the next log line replaces.
static PROGRESS_SHOWN: AtomicBool = AtomicBool::new(false);

/// Replaces the progress line of a terminal; log lines may come between, and replace it in turn.
pub fn show_progress(line: &str) {
    let mut stderr = stderr().lock();
    let _ = write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush());
    PROGRESS_SHOWN.store(!line.is_empty(), Ordering::Relaxed);
}

struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = std::io::StderrLock<'static>;

    fn make_writer(&'a self) -> Self::Writer {
        let mut stderr = stderr().lock();
        if PROGRESS_SHOWN.swap(false, Ordering::Relaxed) {
            let _ = stderr.write_all(b"\r\x1b[K");
        }
        stderr
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;
    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn warnings_of_the_redis_client_and_the_tls_library_are_logged_only_where_they_are_asked_for() {
        let warn = |asked: Option<&str>| {
            let subscriber = tracing_subscriber::registry().with(filter(asked.map(str::to_owned), "info"));
            with_default(subscriber, || {
                assert!(tracing::enabled!(target: "fred::router", Level::ERROR));
                assert!(tracing::enabled!(target: "rustls::conn", Level::ERROR));
                assert!(tracing::enabled!(Level::INFO));
                let redis = tracing::enabled!(target: "fred::router", Level::WARN);
                (redis, tracing::enabled!(target: "rustls::conn", Level::WARN))
            })
        };
        assert_eq!(warn(None), (false, false));
        assert_eq!(warn(Some("info")), (true, true));
    }
}
