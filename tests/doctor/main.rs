//! `doctor` against real servers: what is in order is said to be, what is not is said with its fix, and nothing is
//! changed by asking.

#[path = "../services/postgres/server.rs"]
mod postgres;
#[path = "../services/redis.rs"]
mod redis;

mod buses;
mod stores;

use std::process::Command;

use serde_json::{Value, json};

/// A folder with a configuration.
struct Ward {
    folder: tempfile::TempDir,
}

/// What `doctor` found, and how it ended.
#[derive(Debug)]
struct Found {
    code: Option<i32>,
    checks: Vec<Value>,
}

impl Ward {
    /// With one writer and one environment.
    fn new(writer_type: &str, environment: &Value) -> Self {
        let ward = Self { folder: tempfile::tempdir().expect("a folder") };
        ward.write(&json!({
            "common_persistence_specs": {
                "bus_backend": "LOCAL",
                "kafka_dlq_topic": "dlq",
                "result_bus_topic_id": "results",
                "usage_bus_topic_id": "usage",
            },
            "environments": {"prod": environment},
            "writers": [{"bus_subscriber_type": writer_type}],
        }));
        ward
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn write(&self, file: &Value) {
        std::fs::write(self.path("chalk.json"), file.to_string()).expect("written");
    }

    fn change(&self, pointer: &str, value: Value) {
        let mut file: Value =
            serde_json::from_slice(&std::fs::read(self.path("chalk.json")).expect("there")).expect("JSON");
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        file.pointer_mut(parent).expect(pointer)[key] = value;
        self.write(&file);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chalk-writer"));
        command.args(arguments).args(["--config", "chalk.json"]).current_dir(self.folder.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        let done = self.command(arguments).output().expect("it runs");
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).expect("text")
    }

    fn doctor(&self) -> Found {
        let done = self.command(&["doctor", "--json"]).output().expect("it runs");
        let error = String::from_utf8_lossy(&done.stderr);
        let all: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("no JSON: {error}"));
        Found { code: done.status.code(), checks: all[0]["checks"].as_array().expect("checks").clone() }
    }
}

impl Found {
    /// Result, finding and fix of a check of what begins so.
    #[track_caller]
    fn check(&self, of: &str, check: &str) -> (&str, &str, &str) {
        let ours = |one: &&Value| one["of"].as_str().is_some_and(|name| name.starts_with(of)) && one["check"] == check;
        // The worst of them.
        let rank = |one: &&Value| ["ok", "warn", "fail"].iter().position(|word| one["result"] == *word);
        let one =
            self.checks.iter().filter(ours).max_by_key(rank).unwrap_or_else(|| panic!("no {check} of {of}: {self:#?}"));
        let text = |field: &str| one[field].as_str().unwrap_or_default();
        (text("result"), text("found"), text("fix"))
    }

    #[track_caller]
    fn is_sound(&self) {
        assert_eq!(self.code, Some(0), "{self:#?}");
    }

    /// Fails, and by this check, whose words hold these.
    #[track_caller]
    fn fails(&self, of: &str, check: &str, words: &[&str]) {
        let (result, found, fix) = self.check(of, check);
        assert_eq!((self.code, result), (Some(1), "fail"), "{self:#?}");
        for word in words {
            assert!(found.contains(word) || fix.contains(word), "`{word}` is not in `{found}` or `{fix}`");
        }
        assert!(!fix.is_empty(), "{self:#?}");
    }
}
