//! The binary: reads the command line, starts logging and the async runtime, runs what was asked
//! for, and ends with the exit code that tells how it went.

use std::process::ExitCode;
use std::time::Duration;

use chalk_writer::cli::CommandLine;
use chalk_writer::cli::exit::{Exit, Failure};
use chalk_writer::telemetry::logs;
use clap::Parser;

/// The longest that threads still at work may hold up the end: all that had to be durable is.
const LINGER: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let command_line = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(answer) => return explain(&answer),
    };
    no_core_dumps();
    openssl_stays();
    logs::start(command_line.log_format, command_line.default_level());
    logs::end_on_panic();
    let writer = command_line.is_writer();

    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return end(writer, &Failure::new(Exit::Failed, format_args!("cannot start threads: {error}")));
        }
    };
    let result = runtime.block_on(command_line.run());
    runtime.shutdown_timeout(LINGER);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => end(writer, &failure),
    }
}

/// What is in memory, secrets among it, is written to no file when a library crashes.
#[cfg(target_os = "linux")]
fn no_core_dumps() {
    use nix::sys::prctl::set_dumpable;
    use nix::sys::resource::{Resource, setrlimit};
    // The limit is not asked for where the kernel hands dumps to a program; what is not dumpable is not handed over.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = set_dumpable(false);
}

#[cfg(not(target_os = "linux"))]
fn no_core_dumps() {}

/// OpenSSL takes itself apart as a process ends, unless it is told not to by whoever is the first to use it. A thread of librdkafka
/// that is still closing a connection then would crash after all work was done, and the exit code would be that of the crash.
fn openssl_stays() {
    openssl_sys::init();
}

/// Help and version are answers; the rest is a mistake in the command line.
fn explain(answer: &clap::Error) -> ExitCode {
    let _ = answer.print();
    if answer.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS }
}

/// The last word of a writer is a line of its log; that of a command is for whoever typed it.
fn end(writer: bool, failure: &Failure) -> ExitCode {
    if writer {
        tracing::error!(exit_code = failure.exit as u8, "{failure}");
    } else if !failure.text.is_empty() {
        eprintln!("error: {failure}");
    }
    failure.exit.into()
}
