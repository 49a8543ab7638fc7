//! What the kernel knows of this process, read from `/proc` when somebody asks.

use std::fs;
use std::sync::OnceLock;

/// Time, memory and files of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// User and system time in seconds.
    pub cpu_seconds: f64,
    /// Memory in RAM, in bytes.
    pub resident_bytes: f64,
    /// Open file descriptors.
    pub open_files: f64,
    /// File descriptors that it may open.
    pub max_files: f64,
    /// When it started, in seconds since 1970.
    pub started_at: f64,
}

/// The kernel shows times of processes in this unit whatever its own clock's rate is (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.;

/// When this process started, as of the first time that somebody asked: the kernel tells when it was booted by the clock as it
/// is now, and a clock that was set makes no other process.
static STARTED_AT: OnceLock<f64> = OnceLock::new();

impl Process {
    /// The figures now; `None` where there is no `/proc`.
    pub fn read() -> Option<Self> {
        let times = times(&fs::read_to_string("/proc/self/stat").ok()?)?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let limits = fs::read_to_string("/proc/self/limits").ok()?;
        let booted_at = number_after(&fs::read_to_string("/proc/stat").ok()?, "btime")?;
        Some(Self {
            cpu_seconds: times.cpu / TICKS_PER_SECOND,
            resident_bytes: number_after(&status, "VmRSS:")? * 1024.,
            open_files: fs::read_dir("/proc/self/fd").ok()?.count() as f64,
            max_files: number_after(&limits, "Max open files").unwrap_or(f64::INFINITY),
            started_at: noted(&STARTED_AT, booted_at + times.started / TICKS_PER_SECOND),
        })
    }
}

fn noted(first: &OnceLock<f64>, now: f64) -> f64 {
    *first.get_or_init(|| now)
}

struct Times {
    cpu: f64,
    started: f64,
}

/// Fields 14, 15 and 22 of `/proc/<pid>/stat`. The second field is the program's name in
/// parentheses, which may hold spaces and parentheses itself: what counts is the last one.
fn times(stat: &str) -> Option<Times> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    let started = fields.nth(6)?.parse().ok()?;
    Some(Times { cpu: user + system, started })
}

fn number_after(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "12 (a (b) c) S 1 12 12 0 -1 4194304 900 0 0 0 150 50 0 0 20 0 9 0 777 1000 20";
        let times = times(stat).expect("a whole line");
        assert_eq!((times.cpu, times.started), (200., 777.));
    }

    #[test]
    fn a_clock_that_was_set_makes_no_other_process() {
        let first = OnceLock::new();
        assert_eq!((noted(&first, 1_000.), noted(&first, 4_600.)), (1_000., 1_000.));
    }

    #[test]
    fn this_process_has_memory_files_and_a_past() {
        let process = Process::read().expect("Linux has /proc");
        assert!(process.resident_bytes > 100_000. && process.open_files >= 3., "{process:?}");
        assert!(process.max_files >= process.open_files, "{process:?}");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        assert!(process.started_at > 1.6e9 && process.started_at <= now.as_secs_f64() + 2., "{process:?}");
    }
}
