//! A store that keeps the newest value of every key, fails in every way that stores fail, and
//! watches how it is called.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use chalk_writer::sink::{ErrorClass, Outcome, Refusal, Row, Sink, SinkError, Write};
use tokio::time::sleep;

/// One value of one key. `serial` is unique over a test; a larger one wins a tie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value {
    pub time: i64,
    pub serial: u64,
}

/// A row of the tests.
#[derive(Clone, Debug)]
pub struct TestRow {
    pub destination: usize,
    /// `None`: a pipeline whose rows stand alone.
    pub key: Option<u64>,
    pub value: Value,
    pub bad: bool,
}

impl Row for TestRow {
    type Key = u64;

    fn key(&self) -> Option<&u64> {
        self.key.as_ref()
    }

    fn destination(&self) -> usize {
        self.destination
    }

    fn rows(&self) -> usize {
        1
    }

    fn size(&self) -> usize {
        100
    }
}

/// How a store misbehaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Out of a hundred calls, how many fail in some way.
    pub percent: u64,
    /// Refuses the whole call where a row is bad, without saying which.
    pub silent: bool,
    /// Longest time of a call; one in twenty takes a hundred times as long.
    pub slow: Duration,
}

#[derive(Default)]
struct State {
    newest: BTreeMap<u64, Value>,
    accepted: HashSet<u64>,
    calls: HashMap<String, Vec<u64>>,
    under_way: usize,
    most_under_way: usize,
    random: u64,
}

/// The store.
pub struct FaultyStore {
    faults: Faults,
    state: Mutex<State>,
}

/// Counts a call as ended also when it is cancelled.
struct UnderWay<'a>(&'a FaultyStore);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.state.lock().expect("held").under_way -= 1;
    }
}

impl FaultyStore {
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self { faults, state: Mutex::new(State { random: seed, ..State::default() }) }
    }

    pub fn newest(&self) -> BTreeMap<u64, Value> {
        self.state.lock().expect("held").newest.clone()
    }

    pub fn accepted(&self) -> HashSet<u64> {
        self.state.lock().expect("held").accepted.clone()
    }

    pub fn most_under_way(&self) -> usize {
        self.state.lock().expect("held").most_under_way
    }

    /// Takes one row as a sound store would, for another owner.
    pub fn put(&self, row: &TestRow) {
        if !row.bad {
            self.state.lock().expect("held").apply(row);
        }
    }

    fn random(&self) -> u64 {
        let mut state = self.state.lock().expect("held");
        state.random = state.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state.random ^ (state.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn watch(&self, write: &Write<'_, TestRow>) {
        let keys: Vec<u64> = write.rows.iter().filter_map(|row| row.key).collect();
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len(), "two rows of one call share a key");
        let serials: Vec<u64> = write.rows.iter().map(|row| row.value.serial).collect();
        let mut state = self.state.lock().expect("held");
        let before = state.calls.entry(write.id.to_owned()).or_insert_with(|| serials.clone());
        assert_eq!(*before, serials, "a repeated write {} has other rows", write.id);
        state.under_way += 1;
        state.most_under_way = state.most_under_way.max(state.under_way);
    }
}

impl State {
    fn apply(&mut self, row: &TestRow) -> bool {
        self.accepted.insert(row.value.serial);
        let key = row.key.unwrap_or(row.value.serial);
        let newer = self.newest.get(&key).is_none_or(|stored| row.value > *stored);
        if newer {
            self.newest.insert(key, row.value);
        }
        newer
    }
}

fn refusal() -> Refusal {
    Refusal::new(ErrorClass::ValueRefused, "bad row")
}

#[async_trait]
impl Sink<TestRow> for FaultyStore {
    async fn probe(&self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn write(&self, write: Write<'_, TestRow>) -> Result<Outcome, SinkError> {
        self.watch(&write);
        let _under_way = UnderWay(self);
        let dice = self.random();
        let micros = self.faults.slow.as_micros() as u64;
        let slow = micros * if dice.is_multiple_of(20) { 100 } else { 1 };
        sleep(Duration::from_micros(if micros == 0 { 0 } else { (dice >> 8) % slow })).await;
        let fault = self.random();
        let fails = fault % 100 < self.faults.percent;
        let kind = (fault >> 8) % 5;
        if fails && kind < 3 {
            return Err(match kind {
                0 => SinkError::Transient { reason: "reset".into() },
                1 => SinkError::Throttled { reason: "slow down".into(), after: Some(Duration::from_millis(30)) },
                _ => SinkError::Denied { reason: "wrong password".into() },
            });
        }
        let bad: Vec<usize> = (0..write.rows.len()).filter(|at| write.rows[*at].bad).collect();
        if self.faults.silent && !bad.is_empty() {
            return Err(SinkError::Poisoned(refusal()));
        }
        let mut outcome = Outcome::default();
        let mut state = self.state.lock().expect("held");
        for (at, row) in write.rows.iter().enumerate() {
            if row.bad {
                outcome.refused.push((at, refusal()));
            } else if fails && kind == 3 && (fault >> (at % 40)) & 1 == 1 {
                outcome.again.push(at);
            } else if state.apply(row) {
                outcome.stored += 1;
            } else {
                outcome.stale += 1;
            }
        }
        // The write landed, and the answer was lost.
        if fails && kind == 4 {
            return Err(SinkError::Transient { reason: "time-out".into() });
        }
        Ok(outcome)
    }

    fn collapse(&self, _: &u64, rows: &[&TestRow]) -> TestRow {
        assert!(rows.len() > 1 && rows.iter().all(|row| row.key == rows[0].key));
        (*rows.iter().max_by_key(|row| row.value).expect("at least two")).clone()
    }
}
