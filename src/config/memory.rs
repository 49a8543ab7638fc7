//! How much memory this process may take: its control group's limit, else the machine's memory.

use std::path::Path;

/// A limit of cgroup v1 above this is its way of saying that there is none.
const NO_LIMIT: u64 = 1 << 60;

/// Half of the limit: the other half is for code, stacks, clients' own buffers and the allocator.
pub(super) const fn share(limit: u64) -> u64 {
    limit / 2
}

/// The smallest memory limit that holds for this process, in bytes; `None` where none can be read.
///
/// `cgroups` is usually `/sys/fs/cgroup`, `proc` is `/proc`.
pub fn limit(cgroups: &Path, proc: &Path) -> Option<u64> {
    let groups = std::fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default();
    let unified = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let legacy = groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        parts.next()?.split(',').any(|controller| controller == "memory").then(|| parts.next())?
    });
    [
        smallest(cgroups, unified.unwrap_or("/"), "memory.max"),
        smallest(&cgroups.join("memory"), legacy.unwrap_or("/"), "memory.limit_in_bytes"),
        physical(proc),
    ]
    .into_iter()
    .flatten()
    .min()
}

/// The smallest limit from a group up to the root: any of them kills.
fn smallest(root: &Path, group: &str, file: &str) -> Option<u64> {
    let group = root.join(group.trim_start_matches('/'));
    group
        .ancestors()
        .take_while(|folder| folder.starts_with(root))
        .filter_map(|folder| std::fs::read_to_string(folder.join(file)).ok()?.trim().parse::<u64>().ok())
        .filter(|limit| *limit < NO_LIMIT)
        .min()
}

fn physical(proc: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(proc.join("meminfo")).ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            std::fs::write(path, text).expect("a file");
        }
        folder
    }

    fn limit_of(files: &[(&str, &str)]) -> Option<u64> {
        let machine = machine(files);
        limit(&machine.path().join("cgroup"), &machine.path().join("proc"))
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       16000000 kB\nMemFree: 1 kB\n");

    #[test]
    fn the_tightest_group_from_here_to_the_root_counts() {
        let files = [
            MEMINFO,
            ("proc/self/cgroup", "0::/kubepods/pod1/writer\n"),
            ("cgroup/kubepods/memory.max", "8000000000\n"),
            ("cgroup/kubepods/pod1/memory.max", "500000000\n"),
            ("cgroup/kubepods/pod1/writer/memory.max", "max\n"),
        ];
        assert_eq!(limit_of(&files), Some(500_000_000));
    }

    #[test]
    fn a_container_sees_its_own_group_as_the_root() {
        let files = [MEMINFO, ("proc/self/cgroup", "0::/\n"), ("cgroup/memory.max", "268435456\n")];
        assert_eq!(limit_of(&files), Some(268_435_456));
    }

    #[test]
    fn the_older_layout_is_read_too_and_its_word_for_none_understood() {
        let groups = ("proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/docker/x\n");
        let file = "cgroup/memory/docker/x/memory.limit_in_bytes";
        assert_eq!(limit_of(&[MEMINFO, groups, (file, "100000000\n")]), Some(100_000_000));
        assert_eq!(limit_of(&[MEMINFO, groups, (file, "9223372036854771712\n")]), Some(16_000_000 * 1024));
    }

    #[test]
    fn without_groups_the_machine_counts_and_without_that_nothing() {
        assert_eq!(limit_of(&[MEMINFO]), Some(16_000_000 * 1024));
        assert_eq!(limit_of(&[]), None);
    }
}
