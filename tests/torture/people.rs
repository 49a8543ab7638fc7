//! What people do while everything runs, and afterwards: they send dead letters again, edited or under another
//! configuration, and are interrupted over it; they make a writer pass over a message; they have the topic read again.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::chaos::Chaos;
use super::check::Wrong;
use super::config;
use super::sent::MEND;
use super::writers::{Job as _, Kind};

/// Dead letters that come right when they are edited, and those that do as they are.
const REPLAYS: [&[&str]; 2] = [EDITED, &[]];
const EDITED: &[&str] = &["--class", "TYPE_MISMATCH", "--through", MEND];

/// Letters that are sent before they are marked: a kill lets no more of them be sent twice.
const UNMARKED: i64 = 100;

/// Offsets behind a group's position among which a message is passed over.
const NEAR: i64 = 40;

/// Within this everything that was sent is read again.
const RECENT: Duration = Duration::from_secs(240);

/// How long a killed member may keep its group from being touched. It bounds a hang and nothing else.
const LEFT_WITHIN: Duration = Duration::from_secs(180);

impl Chaos {
    /// Letters are sent again while writers run, and whoever does it is killed.
    pub fn replay_killed(&mut self) {
        // What is too large still is, under this configuration.
        self.kill_a_replay(EDITED);
        let pause = self.millis(0..1000);
        self.let_pass(pause);
        if self.random.bool() {
            let sent = self.replay(EDITED);
            self.note("dead letters are sent again", &sent.map_or("in vain".to_owned(), |sent| sent.to_string()));
        }
    }

    /// Letters are sent again until there is none left that comes right by it.
    pub fn replay_everything(&mut self) {
        config::allow_large_messages(self.writers.config());
        for replay in REPLAYS {
            self.kill_a_replay(replay);
        }
        for replay in REPLAYS {
            let sent = self.replay(replay).expect("dead letters can be replayed when nothing is wrong");
            self.note("dead letters are sent again", &sent.to_string());
        }
        for replay in REPLAYS {
            let sent = self.replay(replay).expect("dead letters can be replayed when nothing is wrong");
            if sent > 0 {
                let what = format!("Anyone: {sent} letters sent again though they are marked, {replay:?}");
                self.checker.problems.push((Wrong::NotMarkedOnce, what));
            }
        }
        self.checker.read_letters(&mut *self.bus);
        let sent = self.end("results") - self.producer.sent.len() as i64;
        let unmarked = sent - self.checker.marks() as i64;
        if !(0..=UNMARKED * self.killed_replays).contains(&unmarked) {
            let what = format!("Anyone: {unmarked} without a mark, after {} kills", self.killed_replays);
            self.checker.problems.push((Wrong::NotMarkedOnce, what));
        }
    }

    /// Records in a topic.
    fn end(&mut self, topic: &str) -> i64 {
        self.bus.ends(topic).values().sum()
    }

    /// Kills a replay as soon as it has sent something, be it a message or its mark.
    fn kill_a_replay(&mut self, replay: &[&str]) {
        let before = self.end("results") + self.end("dlq");
        let mut command = self.writers.command(&["dlq", "replay", "--yes"]);
        let mut child = command.args(replay).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Nobody else sends meanwhile, and few bury.
        while child.try_wait().unwrap().is_none() && self.end("results") + self.end("dlq") == before {
            std::thread::sleep(Duration::from_millis(1));
        }
        if self.random.bool() {
            let pause = self.millis(0..20);
            std::thread::sleep(pause);
        }
        let ended = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        if ended {
            self.note("a replay was too quick to be killed", "or had nothing to send");
        } else {
            self.killed_replays += 1;
            self.note("a replay was killed", "once it had sent something");
        }
    }

    /// Sends letters again; how many, where it could read them.
    fn replay(&mut self, replay: &[&str]) -> Option<u64> {
        let output = self.writers.command(&["dlq", "replay", "--yes", "--json"]).args(replay).output().unwrap();
        // 1: some would be refused again, or the bus does not answer.
        assert!(matches!(output.status.code(), Some(0 | 1)), "{replay:?}: {output:?}");
        let said: Value = serde_json::from_slice(&output.stdout).ok()?;
        said["replayed"].as_u64()
    }

    /// Writers stop before a message, and somebody makes their group pass over it.
    pub fn pass_over(&mut self) {
        let kind = if self.random.bool() { Kind::Online } else { Kind::Offline };
        self.stall();
        self.writers.banned = Some(kind);
        if self.random.bool() {
            self.writers.kill_all(kind);
        } else {
            self.writers.terminate_all(kind);
            self.wait_until(|chaos| chaos.writers.all_have_left());
        }
        self.go_on();
        if self.writers.all_have_left() {
            self.pass_over_one(kind);
        }
        self.writers.banned = None;
        self.writers.at_least(kind, 2);
    }

    /// Somebody has everything read again while writers are at work; those are killed meanwhile, or that reading is.
    pub fn read_again(&mut self) {
        let kind = if self.random.bool() { Kind::Online } else { Kind::Offline };
        self.note("the topic is read again", &format!("by a {kind:?} writer of its own"));
        let there = self.end("results");
        let before = self.bus.committed(kind.group(), "results");
        self.writers.read_again(kind);
        let mut is_killed = false;
        let pause = self.millis(0..1500);
        self.let_pass(pause);
        if self.random.bool() {
            self.writers.kill_one(kind, &mut self.random);
            self.writers.start(kind);
            self.note("SIGKILL", &format!("of one {kind:?} writer"));
        } else if self.random.bool() && self.writers.kill_again() {
            is_killed = true;
            self.note("a reading again was killed", &format!("of a {kind:?} writer"));
        }
        while self.writers.is_read_again() {
            self.let_pass(Duration::from_millis(200));
        }
        // All of it, as long as all of it is of the last minutes.
        let all = if self.begun.elapsed() < RECENT { there as u64 } else { 1 };
        let read = self.writers.read_again_messages();
        if !is_killed && read < all {
            let what = format!("{kind:?}: {read} of {there} messages were read again");
            self.checker.problems.push((Wrong::NotReadAgain, what));
        }
        let after = self.bus.committed(kind.group(), "results");
        if before.iter().any(|(partition, position)| after[partition] < *position) {
            let what = format!("{kind:?}: a reading again moved the group from {before:?} to {after:?}");
            self.checker.problems.push((Wrong::NotReadAgain, what));
        }
    }

    fn pass_over_one(&mut self, kind: Kind) {
        let before = self.bus.committed(kind.group(), "results");
        let is_next = |at: &usize| {
            let message = &self.producer.sent[*at];
            let position = before[&message.place.partition];
            let is_sound = message.content.bad.is_none() && message.skipped_by.is_none();
            is_sound && (position..position + NEAR).contains(&message.place.offset)
        };
        let next: Vec<usize> = (0..self.producer.sent.len()).filter(is_next).collect();
        let Some(at) = self.random.choice(next) else { return };
        let place = self.producer.sent[at].place;
        let words = format!("results/{}/{}", place.partition, place.offset);
        self.note("a message is passed over", &format!("{words} by the {kind:?} writers"));
        let begun = Instant::now();
        loop {
            let words = ["skip", &words, "--type", kind.type_name(), "--write-before", "--json"];
            let output = self.writers.command(&words).output().unwrap();
            if output.status.success() {
                break;
            }
            // A member that was killed counts until its session is over.
            assert!(begun.elapsed() < LEFT_WITHIN, "{words:?}: {output:?}");
            self.let_pass(Duration::from_millis(200));
        }
        self.producer.sent[at].skipped_by = Some(kind);
        let mut expected = before;
        expected.insert(place.partition, place.offset + 1);
        let now = self.bus.committed(kind.group(), "results");
        if now != expected {
            let what = format!("{kind:?}: {words}: the group is at {now:?}, not {expected:?}");
            self.checker.problems.push((Wrong::NotPassedOver, what));
        }
        self.checker.audit(kind, &self.producer.sent, &mut *self.bus);
    }
}
