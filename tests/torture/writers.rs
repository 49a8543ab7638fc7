//! The writer processes, and the signals that they get.

use std::cell::OnceCell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::clock::Clock;
use super::logs::{Counts, Logs};

/// How long a writer may take to drain and leave. It bounds a hang and nothing else.
const LEAVES_WITHIN: Duration = Duration::from_secs(180);

/// The program that is tortured: that of the tests, or the one that `TORTURE_BINARY` names, as an optimised one.
fn program() -> PathBuf {
    std::env::var_os("TORTURE_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_chalk-writer").into(), PathBuf::from)
}

/// More of a kind only slow one another down.
const MOST: usize = 3;

/// The two writers whose runs have no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Online,
    Offline,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Online, Self::Offline];

    pub fn group(self) -> &'static str {
        match self {
            Self::Online => "chalk-online-writer",
            Self::Offline => "chalk-offline-writer",
        }
    }
}

/// What the processes of a run are told apart by.
pub trait Job: Copy + Eq + std::fmt::Debug {
    /// Type of the writer.
    fn type_name(self) -> &'static str;

    /// Whether it is to be asked how it is doing.
    fn listens(self) -> bool {
        false
    }
}

impl Job for Kind {
    fn type_name(self) -> &'static str {
        match self {
            Self::Online => "ONLINE_WRITER",
            Self::Offline => "OFFLINE_WRITER",
        }
    }
}

struct Writer<J> {
    kind: J,
    child: Child,
    /// Stopped until then.
    asleep: Option<Instant>,
    log: PathBuf,
    /// Once its log says so.
    listens_at: OnceCell<String>,
}

impl<J: Job> Writer<J> {
    fn listens_at(&self) -> Option<&str> {
        if self.listens_at.get().is_none() {
            let _ = self.listens_at.set(listens_at(&self.log)?);
        }
        self.listens_at.get().map(String::as_str)
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    fn wake(&mut self) {
        if self.asleep.take().is_some() {
            self.signal(Signal::SIGCONT);
        }
    }

    /// Whether it has written anything: before, it does not listen for signals either.
    fn was_born(&self) -> bool {
        std::fs::metadata(&self.log).is_ok_and(|log| log.len() > 0)
    }
}

/// The writer processes of a run. Dropped, it kills them.
pub struct Writers<J: Job = Kind> {
    /// One of each is always there.
    jobs: Vec<J>,
    /// By which they live.
    pub clock: Clock,
    folder: PathBuf,
    config: PathBuf,
    started: usize,
    /// Processes that were killed or asked to leave.
    ended: Vec<J>,
    running: Vec<Writer<J>>,
    /// Those that were asked to leave, and when.
    leaving: Vec<(Writer<J>, Instant)>,
    /// The one that reads everything again, outside its group, and since when.
    again: Option<(Writer<J>, Instant)>,
    /// The log of the last such one that has ended well.
    last_again: Option<PathBuf>,
    /// Of this kind none is started by itself.
    pub banned: Option<J>,
    /// Whether somebody left with rows unwritten.
    pub unfinished: bool,
    /// With this one may end by itself for now, beside 1.
    pub excused: Option<i32>,
    logs: Logs<J>,
}

impl<J: Job> Writers<J> {
    pub fn new(folder: &Path, config: &Path, jobs: &[J]) -> Self {
        Self {
            jobs: jobs.to_vec(),
            clock: Clock::new(folder),
            folder: folder.to_owned(),
            config: config.to_owned(),
            started: 0,
            ended: Vec::new(),
            running: Vec::new(),
            leaving: Vec::new(),
            again: None,
            last_again: None,
            banned: None,
            unfinished: false,
            excused: None,
            logs: Logs::default(),
        }
    }

    pub fn count(&self, kind: J) -> usize {
        self.running.iter().filter(|writer| writer.kind == kind).count()
    }

    pub fn is_full(&self, kind: J) -> bool {
        self.count(kind) >= MOST
    }

    /// Starts another one, unless there are enough.
    pub fn start(&mut self, kind: J) {
        if !self.is_full(kind) {
            let writer = self.spawn(kind, &[]);
            self.running.push(writer);
        }
    }

    /// Starts some, where there are fewer.
    pub fn at_least(&mut self, kind: J, count: usize) {
        while self.count(kind) < count {
            self.start(kind);
        }
    }

    /// The program for anything else than writing, with the configuration of the run.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(words).arg("--config").arg(&self.config).stdin(Stdio::null());
        command
    }

    pub fn config(&self) -> &Path {
        &self.config
    }

    fn spawn(&mut self, kind: J, more: &[&str]) -> Writer<J> {
        self.started += 1;
        let log = self.folder.join(format!("{:03}-{}.log", self.started, kind.type_name()));
        let mut command = Command::new(program());
        self.clock.rules(&mut command);
        let child = command
            .args(["--type", kind.type_name(), "--listen"])
            .args([if kind.listens() { "127.0.0.1:0" } else { "off" }, "--config"])
            .arg(&self.config)
            .args(more)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        self.logs.add(kind, log.clone());
        Writer { kind, child, asleep: None, log, listens_at: OnceCell::new() }
    }

    fn pick(&self, kind: J, random: &mut fastrand::Rng) -> Option<usize> {
        let of_kind: Vec<usize> = (0..self.running.len()).filter(|at| self.running[*at].kind == kind).collect();
        random.choice(of_kind)
    }

    /// Kills one as a crash would.
    pub fn kill_one(&mut self, kind: J, random: &mut fastrand::Rng) {
        if let Some(at) = self.pick(kind, random) {
            self.kill(at);
        }
    }

    /// Kills the one that was started last.
    pub fn kill_newest(&mut self, kind: J) {
        if let Some(at) = self.newest(kind) {
            self.kill(at);
        }
    }

    fn kill(&mut self, at: usize) {
        let mut writer = self.running.remove(at);
        self.ended.push(writer.kind);
        writer.child.kill().unwrap();
        writer.child.wait().unwrap();
    }

    fn newest(&self, kind: J) -> Option<usize> {
        self.running.iter().rposition(|writer| writer.kind == kind)
    }

    /// Processes that are at work: they have said something.
    pub fn at_work(&self) -> Vec<u32> {
        self.running.iter().filter(|writer| writer.was_born()).map(|writer| writer.child.id()).collect()
    }

    /// Those of some that have not ended.
    pub fn still_there(&self, processes: &[u32]) -> Vec<u32> {
        let all = self.running.iter().map(|writer| writer.child.id());
        all.filter(|process| processes.contains(process)).collect()
    }

    /// Kills all but some; returns how many.
    pub fn kill_others(&mut self, than: &[u32]) -> usize {
        let is_other = |at: &usize| !than.contains(&self.running[*at].child.id());
        let others: Vec<usize> = (0..self.running.len()).rev().filter(is_other).collect();
        for at in &others {
            self.kill(*at);
        }
        others.len()
    }

    /// Kills all of a kind as a power cut would, those too that are leaving.
    pub fn kill_all(&mut self, kind: J) {
        let leaving = self.leaving.extract_if(.., |(writer, _)| writer.kind == kind).map(|(writer, _)| writer);
        let mut killed: Vec<Writer<J>> =
            self.running.extract_if(.., |writer| writer.kind == kind).chain(leaving).collect();
        self.ended.extend(killed.iter().map(|writer| writer.kind));
        // All of them at once: none goes on for the other.
        for writer in &mut killed {
            writer.child.kill().unwrap();
        }
        for writer in &mut killed {
            writer.child.wait().unwrap();
        }
    }

    /// Starts one that reads again what came in the last five minutes; [`Writers::tend`] sees to it that it ends well.
    pub fn read_again(&mut self, kind: J) {
        // By force: the lake has rows twice then, which is allowed.
        let writer = self.spawn(kind, &["--from-time", "5m", "--force"]);
        self.again = Some((writer, Instant::now()));
    }

    /// How many messages the last one that was started so has dealt with, once it has ended.
    pub fn read_again_messages(&self) -> u64 {
        self.last_again.as_deref().map_or(0, acknowledged)
    }

    pub fn is_read_again(&self) -> bool {
        self.again.is_some()
    }

    /// Kills the one that reads again; whether there was one.
    pub fn kill_again(&mut self) -> bool {
        let Some((mut writer, _)) = self.again.take() else { return false };
        writer.child.kill().unwrap();
        writer.child.wait().unwrap();
        true
    }

    /// Asks one to leave; [`Writers::tend`] sees to it that it does.
    pub fn terminate_one(&mut self, kind: J, random: &mut fastrand::Rng) {
        if let Some(at) = self.pick(kind, random)
            && self.running[at].asleep.is_none()
        {
            self.terminate(at);
        }
    }

    /// Asks all of a kind to leave.
    pub fn terminate_all(&mut self, kind: J) {
        self.wake_all();
        while let Some(at) = self.newest(kind) {
            self.terminate(at);
        }
    }

    /// Asks the one to leave that was started last.
    pub fn terminate_newest(&mut self, kind: J) {
        if let Some(at) = self.newest(kind) {
            self.terminate(at);
        }
    }

    fn terminate(&mut self, at: usize) {
        let writer = self.running.remove(at);
        writer.signal(Signal::SIGTERM);
        self.ended.push(writer.kind);
        self.leaving.push((writer, Instant::now()));
    }

    /// Stops one for a while, as a paused virtual machine would.
    pub fn stop_one(&mut self, kind: J, length: Duration, random: &mut fastrand::Rng) {
        if let Some(at) = self.pick(kind, random)
            && self.running[at].asleep.is_none()
        {
            self.running[at].signal(Signal::SIGSTOP);
            self.running[at].asleep = Some(Instant::now() + length);
        }
    }

    /// Stops all of them, until they are woken.
    pub fn stop_all(&mut self) {
        for writer in self.running.iter_mut().filter(|writer| writer.asleep.is_none()) {
            writer.signal(Signal::SIGSTOP);
            writer.asleep = Some(Instant::now() + LEAVES_WITHIN);
        }
    }

    pub fn wake_all(&mut self) {
        for writer in &mut self.running {
            writer.wake();
        }
    }

    /// Wakes who has slept enough, starts again who has ended by itself, as Kubernetes would, and
    /// looks after those who were asked to leave. Returns how many have ended by themselves.
    pub fn tend(&mut self) -> usize {
        for writer in &mut self.running {
            if writer.asleep.is_some_and(|until| until <= Instant::now()) {
                writer.wake();
            }
        }
        let mut leaving = Vec::new();
        for (mut writer, since) in std::mem::take(&mut self.leaving) {
            match writer.child.try_wait().unwrap() {
                Some(status) => self.left(&writer, status),
                None if since.elapsed() < LEAVES_WITHIN => leaving.push((writer, since)),
                None => {
                    writer.child.kill().unwrap();
                    panic!("a writer did not leave within {LEAVES_WITHIN:?}: {}", tail(&writer.log));
                }
            }
        }
        self.leaving = leaving;
        if let Some((writer, since)) = &mut self.again {
            match writer.child.try_wait().unwrap() {
                Some(status) => {
                    // Nothing is wrong with the stores and the bus meanwhile.
                    assert!(status.success(), "a reading again ended with {status}: {}", tail(&writer.log));
                    self.last_again = Some(writer.log.clone());
                    self.again = None;
                }
                None => assert!(since.elapsed() < LEAVES_WITHIN, "it goes on: {}", tail(&writer.log)),
            }
        }
        let mut ended = 0;
        for kind in self.jobs.clone() {
            for at in (0..self.running.len()).rev().filter(|at| self.running[*at].kind == kind).collect::<Vec<_>>() {
                let Some(status) = self.running[at].child.try_wait().unwrap() else { continue };
                let writer = self.running.remove(at);
                println!("torture: {kind:?} writer ended by itself with {status}: {}", tail(&writer.log));
                // 1 is a failure that a restart may mend; anything else needs a person.
                let code = status.code().expect("nobody has killed it");
                assert!(code == 1 || self.excused == Some(code), "{kind:?} writer ended by itself");
                ended += 1;
            }
            if self.banned != Some(kind) {
                self.at_least(kind, 1);
            }
        }
        ended
    }

    fn left(&mut self, writer: &Writer<J>, status: ExitStatus) {
        self.unfinished |= status.code() == Some(1);
        // With its store or its bus away it may have to leave something behind, and says so with 1.
        let fine = matches!(status.code(), Some(0 | 1)) || !writer.was_born();
        assert!(fine, "{:?} writer left with {status}: {}", writer.kind, tail(&writer.log));
    }

    /// Whether everyone who was asked to leave has done so.
    pub fn all_have_left(&self) -> bool {
        self.leaving.is_empty()
    }

    /// Lets everyone leave.
    pub fn leave(&mut self) {
        self.wake_all();
        while !self.running.is_empty() {
            self.terminate(0);
        }
        for (mut writer, since) in std::mem::take(&mut self.leaving) {
            let status = loop {
                match writer.child.try_wait().unwrap() {
                    Some(status) => break status,
                    None if since.elapsed() < LEAVES_WITHIN => std::thread::sleep(Duration::from_millis(20)),
                    None => {
                        writer.child.kill().unwrap();
                        panic!("a writer did not leave within {LEAVES_WITHIN:?}: {}", tail(&writer.log));
                    }
                }
            };
            self.left(&writer, status);
        }
    }

    /// Reads the groups of some to the end; returns how many messages that were.
    pub fn drain(&mut self, kinds: &[J]) -> u64 {
        let drain = |kind: &J| self.spawn(*kind, &["--drain", "--drain-timeout", "900s"]);
        let mut drains: Vec<Writer<J>> = kinds.iter().map(drain).collect();
        for writer in &mut drains {
            let status = writer.child.wait().unwrap();
            assert!(status.success(), "{:?} --drain ended with {status}: {}", writer.kind, tail(&writer.log));
        }
        drains.iter().map(|writer| acknowledged(&writer.log)).sum()
    }

    /// How many processes of a kind were killed or asked to leave.
    pub fn ended_of(&self, kind: J) -> usize {
        self.ended.iter().filter(|ended| **ended == kind).count()
    }

    /// Those of a kind that can be asked how they are doing: process, and where it listens.
    pub fn listening(&self, kind: J) -> Vec<(u32, String)> {
        let awake = self.running.iter().filter(|writer| writer.kind == kind && writer.asleep.is_none());
        awake.filter_map(|writer| Some((writer.child.id(), writer.listens_at()?.to_owned()))).collect()
    }

    /// What the writers of a kind have said so far.
    pub fn said(&mut self, kind: J) -> Counts {
        self.logs.of(kind)
    }
}

impl<J: Job> Drop for Writers<J> {
    fn drop(&mut self) {
        let others = self.leaving.iter_mut().chain(&mut self.again).map(|(writer, _)| writer);
        for writer in self.running.iter_mut().chain(others) {
            let _ = writer.child.kill();
            let _ = writer.child.wait();
        }
    }
}

/// Where a writer listens, once its log says so.
fn listens_at(log: &Path) -> Option<String> {
    let text = std::fs::read_to_string(log).ok()?;
    let line: serde_json::Value =
        serde_json::from_str(text.lines().find(|line| line.contains("\"listening\""))?).ok()?;
    line["listening"].as_str().map(str::to_owned)
}

/// What a writer says in its last line.
fn acknowledged(log: &Path) -> u64 {
    let text = std::fs::read_to_string(log).unwrap();
    let last: serde_json::Value = serde_json::from_str(text.lines().last().expect("it says how it went")).unwrap();
    last["acknowledged"].as_u64().unwrap_or_else(|| panic!("no count in {last}"))
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    format!("{}\n{}", log.display(), lines[lines.len().saturating_sub(8)..].join("\n"))
}
