//! What is known of the loads of one write while they are being loaded: which have landed, which files are bad, and
//! what that makes of each load. No I/O.

use std::collections::BTreeMap;

use hashbrown::{HashMap, HashSet};

use crate::row::load::{FileLoad, Load, LoadFile};
use crate::sink::{ErrorClass, Outcome, Refusal};

/// The loads of one write.
#[derive(Debug)]
pub struct Work<'a> {
    /// Each load once.
    pub loads: Vec<Item<'a>>,
    /// For each row of the write the load that it is.
    of_row: Vec<usize>,
}

/// One load.
#[derive(Debug)]
pub struct Item<'a> {
    /// What is to be loaded.
    pub load: &'a Load,
    /// Index of the pipeline's destination.
    pub destination: usize,
    /// Its files that landed before.
    pub landed: HashSet<String>,
    /// Its files that cannot be loaded, by their index, and why.
    pub bad: BTreeMap<usize, Refusal>,
    /// What stands in the way of all of it.
    pub refused: Option<Refusal>,
    /// Why nothing is known of it: a store of its files is away.
    pub away: Option<String>,
    /// Whether it had landed whole before.
    pub is_old: bool,
    /// What may be there although it did not land, for whoever reads the letter.
    pub remains: &'static str,
}

impl<'a> Work<'a> {
    /// Of the rows of one write. A load that is among them twice is one load.
    pub fn new(rows: &[&'a FileLoad]) -> Self {
        let (mut loads, mut of_row) = (Vec::new(), Vec::with_capacity(rows.len()));
        let mut known: HashMap<(&str, &str), usize> = HashMap::new();
        for row in rows {
            let at = *known.entry((&row.load.environment, &row.load.id)).or_insert_with(|| {
                loads.push(Item {
                    load: &row.load,
                    destination: row.destination,
                    landed: HashSet::new(),
                    bad: BTreeMap::new(),
                    refused: None,
                    away: None,
                    is_old: false,
                    remains: "",
                });
                loads.len() - 1
            });
            of_row.push(at);
        }
        Self { loads, of_row }
    }

    /// What became of the rows, once everything that is to be loaded is. `stored` is the number of their rows.
    pub fn outcome(self, stored: u64) -> Outcome {
        let mut outcome = Outcome { stored, ..Outcome::default() };
        let mut seen = HashSet::new();
        for (row, at) in self.of_row.into_iter().enumerate() {
            let item = &self.loads[at];
            let again = !seen.insert(at);
            if let Some(reason) = &item.away {
                outcome.again.push(row);
                outcome.reason.get_or_insert_with(|| reason.clone());
            } else if let Some(refusal) = item.verdict() {
                outcome.refused.push((row, refusal));
            } else if again || item.is_old {
                outcome.stale += item.load.files.len() as u64;
            }
        }
        outcome
    }
}

impl Item<'_> {
    /// Whether any file of it is still to be loaded.
    pub fn is_pending(&self) -> bool {
        let given_up = self.is_old || self.refused.is_some() || self.away.is_some();
        let aborted = !self.bad.is_empty() && !self.load.skips_bad_files;
        !given_up && !aborted && self.pending().next().is_some()
    }

    /// The files that are still to be loaded, where the load is not given up.
    pub fn pending(&self) -> impl Iterator<Item = (usize, &LoadFile)> {
        let files = self.load.files.iter().enumerate();
        files.filter(|(at, _)| self.has_pending(*at))
    }

    /// Whether a file is still to be loaded, where the load is not given up.
    pub fn has_pending(&self, file: usize) -> bool {
        !self.bad.contains_key(&file) && !self.landed.contains(&*self.load.files[file].uri)
    }

    /// Notes that a file cannot be loaded.
    pub fn spoil(&mut self, file: usize, refusal: Refusal) {
        let table = &self.load.target.table;
        let uri = self.load.files[file].shown();
        // What was said of a row is said of the file; its row goes into the words.
        let refusal = match refusal.row.clone() {
            Some(row) => Refusal { message: format!("row {row}: {}", refusal.message), ..refusal },
            None => refusal,
        };
        self.bad.entry(file).or_insert_with(|| refusal.row(uri).table(table));
    }

    /// The verdict on the load: that of its first bad file, which names the others.
    fn verdict(&self) -> Option<Refusal> {
        const MOST: usize = 20;
        if let Some(refusal) = &self.refused {
            return Some(refusal.clone());
        }
        let (_, first) = self.bad.first_key_value()?;
        let (all, bad) = (self.load.files.len(), self.bad.len());
        let mut message = first.message.clone();
        for refusal in self.bad.values().skip(1).take(MOST) {
            let uri = refusal.row.as_deref().unwrap_or_default();
            message = format!("{message}; {uri}: {} ({})", refusal.message, refusal.class);
        }
        if bad > MOST + 1 {
            message = format!("{message}; and {} more", bad - MOST - 1);
        }
        let (id, rest) = (&self.load.id, all - bad);
        let end = match (self.load.skips_bad_files, rest) {
            (true, 0) => "nothing of it landed".to_owned(),
            (true, rest) => format!("its other {rest} landed"),
            (false, _) => format!("nothing of it landed (`on_error` is abort){}", self.remains),
        };
        Some(Refusal { message: format!("{message} [load {id}: {bad} of {all} files; {end}]"), ..first.clone() })
    }
}

/// A verdict on a load because of what it asks for, whatever is in its files.
pub fn refused(load: &Load, message: String) -> Refusal {
    Refusal::new(ErrorClass::ValueRefused, message).row(format!("load {}", load.id)).table(&load.target.table)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::row::load::{Mode, Target, Which};

    fn load(id: &'static str, files: usize, skips_bad_files: bool) -> FileLoad {
        let file = |at| LoadFile { uri: format!("file:///{at}").into(), rows: None, bytes: None, which: Which::Newest };
        let load = Load {
            environment: "prod".into(),
            id: id.into(),
            target: Target { database: None, schema: None, table: "t".into() },
            files: (0..files).map(file).collect(),
            mode: Mode::Append,
            create: true,
            time: 0,
            skips_bad_files,
        };
        FileLoad { destination: 0, load: Arc::new(load) }
    }

    fn bad(message: &str) -> Refusal {
        Refusal::new(ErrorClass::FileMissing, message)
    }

    #[test]
    fn a_bad_file_keeps_all_of_its_load_out_or_itself_alone() {
        let (abort, skip) = (load("abort", 3, false), load("skip", 3, true));
        let mut work = Work::new(&[&abort, &skip]);
        for item in &mut work.loads {
            item.spoil(1, bad("gone"));
        }
        assert_eq!(work.loads.iter().map(Item::is_pending).collect::<Vec<_>>(), [false, true]);
        assert_eq!(work.loads[1].pending().map(|(at, _)| at).collect::<Vec<_>>(), [0, 2]);
        let outcome = work.outcome(7);
        assert_eq!(outcome.stored, 7);
        let words: Vec<String> = outcome.refused.iter().map(|(_, refusal)| refusal.to_string()).collect();
        assert_eq!(
            words,
            [
                "FILE_MISSING: gone [load abort: 1 of 3 files; nothing of it landed (`on_error` is abort)] (row file:///1)",
                "FILE_MISSING: gone [load skip: 1 of 3 files; its other 2 landed] (row file:///1)",
            ]
        );
    }

    #[test]
    fn nothing_secret_of_a_uri_is_in_a_letter() {
        let mut load = load("l", 2, true);
        let of = Arc::get_mut(&mut load.load).expect("one owner");
        of.files[0].uri = "https://h/b/1.parquet?X-Amz-Signature=SECRET".into();
        of.files[1].uri = "s3://KEY:SECRET@b/2.parquet".into();
        let mut work = Work::new(&[&load]);
        for file in 0..2 {
            work.loads[0].spoil(file, bad("gone"));
        }
        let refusal = &work.outcome(0).refused[0].1;
        assert_eq!(refusal.row.as_deref(), Some("https://h/b/1.parquet?…"));
        assert!(refusal.message.contains("s3://b/2.parquet: gone"), "{refusal}");
        assert!(!format!("{refusal:?}").contains("SECRET"), "{refusal:?}");
    }

    #[test]
    fn one_letter_names_every_bad_file() {
        let skip = load("l", 2, true);
        let mut work = Work::new(&[&skip]);
        work.loads[0].spoil(1, bad("gone"));
        work.loads[0].spoil(0, bad("column `n`: text").row("t/7"));
        let outcome = work.outcome(0);
        let [(0, refusal)] = &outcome.refused[..] else { panic!("one verdict: {outcome:?}") };
        assert_eq!(refusal.row.as_deref(), Some("file:///0"));
        assert_eq!(
            refusal.message,
            "row t/7: column `n`: text; file:///1: gone (FILE_MISSING) [load l: 2 of 2 files; nothing of it landed]"
        );
    }

    #[test]
    fn a_load_that_comes_twice_is_one_load_and_has_one_fate() {
        let (one, two, old) = (load("l", 2, false), load("l", 2, false), load("old", 1, false));
        let mut work = Work::new(&[&one, &two, &old]);
        assert_eq!(work.loads.len(), 2);
        work.loads[1].is_old = true;
        let outcome = work.outcome(5);
        assert_eq!((outcome.stored, outcome.stale, outcome.refused.len()), (5, 3, 0));
        let mut work = Work::new(&[&one, &two]);
        work.loads[0].spoil(0, bad("gone"));
        assert_eq!(work.outcome(0).refused.len(), 2, "each message is buried");
    }

    #[test]
    fn a_load_whose_bucket_is_away_comes_again() {
        let one = load("l", 2, true);
        let mut work = Work::new(&[&one]);
        work.loads[0].spoil(0, bad("gone"));
        work.loads[0].away = Some("s3://b: away".to_owned());
        let outcome = work.outcome(0);
        assert_eq!((outcome.again, outcome.refused.len()), (vec![0], 0));
        assert_eq!(outcome.reason.as_deref(), Some("s3://b: away"));
    }
}
