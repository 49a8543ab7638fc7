//! The text form of a sketch: that of the `uddsketch` type of Timescale's toolkit, as its public sources have
//! it. `'…'::uddsketch` takes what is written here, and what that type prints is read here.
//!
//! It is a struct in RON: `(version:1,alpha:0.001,max_buckets:200,num_buckets:2,compactions:0,count:3,sum:2.0,
//! buckets:[(Zero,1),(Positive(0),2)])`. Fields may be read in any order, with spaces and a comma at the end.

use std::fmt;

use super::bucket::{Bucket, FIRST_ERROR, error_after};
use super::exact::ExactSum;
use super::udd::{MOST_BUCKETS, UddSketch};

/// Sketches of finite numbers are never compacted more often: few buckets are left long before.
const MOST_COMPACTIONS: u64 = 32;

/// Why a text is no sketch of this kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sketch: {0}")]
pub struct BadSketch(String);

impl UddSketch {
    /// The text form.
    pub fn to_text(&self) -> String {
        self.to_string()
    }

    /// The sketch of a text. Its sum is what the text says, which was rounded when it was written.
    pub fn from_text(text: &str) -> Result<Self, BadSketch> {
        let mut reader = Reader { text, rest: text };
        let fields = reader.sketch()?;
        fields.checked().map_err(BadSketch)
    }
}

impl fmt::Display for UddSketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "(version:1,alpha:{},max_buckets:{MOST_BUCKETS},num_buckets:{},compactions:{},count:{},sum:{},buckets:[",
            Number(self.max_error()),
            self.buckets.len(),
            self.compactions,
            self.count,
            // One that no double can hold is the largest: an infinite one could not be merged any more.
            Number(self.sum.value().clamp(f64::MIN, f64::MAX))
        )?;
        for (at, (bucket, count)) in self.buckets.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match bucket {
                Bucket::Negative(index) => write!(f, "{comma}(Negative({index}),{count})")?,
                Bucket::Zero => write!(f, "{comma}(Zero,{count})")?,
                Bucket::Positive(index) => write!(f, "{comma}(Positive({index}),{count})")?,
            }
        }
        f.write_str("])")
    }
}

/// A number as RON has it: one without a fraction still shows that it could have one.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let point = if self.0.fract() == 0.0 { ".0" } else { "" };
        write!(f, "{}{point}", self.0)
    }
}

/// What a text says, before anybody believes it.
#[derive(Default)]
struct Fields {
    version: Option<u64>,
    alpha: Option<f64>,
    max_buckets: Option<u64>,
    num_buckets: Option<u64>,
    compactions: Option<u64>,
    count: Option<u64>,
    sum: Option<f64>,
    buckets: Option<Vec<(Bucket, u64)>>,
}

impl Fields {
    fn checked(self) -> Result<UddSketch, String> {
        fn given<T>(field: Option<T>, name: &str) -> Result<T, String> {
            field.ok_or_else(|| format!("`{name}` is missing"))
        }
        let expect = |name: &str, expected: u64, found: u64| {
            if expected == found { Ok(()) } else { Err(format!("`{name}`: expected {expected}, found {found}")) }
        };
        expect("version", 1, given(self.version, "version")?)?;
        expect("max_buckets", MOST_BUCKETS as u64, given(self.max_buckets, "max_buckets")?)?;
        let compactions = given(self.compactions, "compactions")?;
        if compactions > MOST_COMPACTIONS {
            return Err(format!("`compactions`: expected at most {MOST_COMPACTIONS}, found {compactions}"));
        }
        let compactions = compactions as u32;
        let (alpha, error) = (given(self.alpha, "alpha")?, error_after(FIRST_ERROR, compactions));
        // As far as another order of the same multiplications may come out differently.
        if alpha.is_nan() || (alpha - error).abs() > 1e-9 * error {
            return Err(format!("`alpha`: expected {error} after {compactions} compactions, found {alpha}"));
        }
        let sum = given(self.sum, "sum")?;
        if !sum.is_finite() {
            return Err(format!("`sum`: expected a finite number, found {sum}"));
        }
        let mut buckets = given(self.buckets, "buckets")?;
        expect("num_buckets", buckets.len() as u64, given(self.num_buckets, "num_buckets")?)?;
        if buckets.len() > MOST_BUCKETS {
            return Err(format!("`buckets`: expected at most {MOST_BUCKETS}, found {}", buckets.len()));
        }
        buckets.sort_unstable_by_key(|(bucket, _)| *bucket);
        if let Some(twice) = buckets.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(format!("`buckets`: {:?} stands twice", twice[0].0));
        }
        let mut count = 0_u64;
        for (bucket, of) in &buckets {
            possible(*bucket, compactions)?;
            count = count.checked_add(*of).filter(|_| *of > 0).ok_or_else(|| format!("`buckets`: {of} numbers"))?;
        }
        expect("count", count, given(self.count, "count")?)?;
        let mut exact = ExactSum::new();
        exact.add(sum);
        Ok(UddSketch { buckets, compactions, count, sum: exact })
    }
}

/// Whether a double can be in a bucket; with an index to spare, as logarithms are not the same everywhere.
fn possible(bucket: Bucket, compactions: u32) -> Result<(), String> {
    let index = |value| Bucket::of(value, FIRST_ERROR).compacted(compactions).index();
    let possible = index(f64::from_bits(1)) - 1..=index(f64::MAX) + 1;
    if bucket == Bucket::Zero || possible.contains(&bucket.index()) {
        return Ok(());
    }
    Err(format!("`buckets`: no finite number is in {bucket:?} after {compactions} compactions"))
}

/// The text, and what is left of it.
struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn sketch(&mut self) -> Result<Fields, BadSketch> {
        let mut fields = Fields::default();
        self.expect('(')?;
        while !self.take(')') {
            let name = self.word()?;
            self.expect(':')?;
            let twice = match name {
                "version" => fields.version.replace(self.number()?).is_some(),
                "alpha" => fields.alpha.replace(self.number()?).is_some(),
                "max_buckets" => fields.max_buckets.replace(self.number()?).is_some(),
                "num_buckets" => fields.num_buckets.replace(self.number()?).is_some(),
                "compactions" => fields.compactions.replace(self.number()?).is_some(),
                "count" => fields.count.replace(self.number()?).is_some(),
                "sum" => fields.sum.replace(self.number()?).is_some(),
                "buckets" => fields.buckets.replace(self.buckets()?).is_some(),
                _ => return Err(self.found("a field of a sketch")),
            };
            if twice {
                return Err(BadSketch(format!("`{name}` stands twice")));
            }
            self.between(')')?;
        }
        if self.next().is_some() { Err(self.found("the end")) } else { Ok(fields) }
    }

    fn buckets(&mut self) -> Result<Vec<(Bucket, u64)>, BadSketch> {
        let mut buckets = Vec::new();
        self.expect('[')?;
        while !self.take(']') {
            self.expect('(')?;
            let bucket = match self.word()? {
                "Zero" => Bucket::Zero,
                "Negative" => Bucket::Negative(self.index()?),
                "Positive" => Bucket::Positive(self.index()?),
                _ => return Err(self.found("`Negative`, `Zero` or `Positive`")),
            };
            self.expect(',')?;
            buckets.push((bucket, self.number()?));
            self.between(')')?;
            self.expect(')')?;
            self.between(']')?;
        }
        Ok(buckets)
    }

    fn index(&mut self) -> Result<i64, BadSketch> {
        self.expect('(')?;
        let index = self.number()?;
        self.expect(')')?;
        Ok(index)
    }

    fn next(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.next() == Some(wanted);
        if found {
            self.rest = &self.rest[wanted.len_utf8()..];
        }
        found
    }

    fn expect(&mut self, wanted: char) -> Result<(), BadSketch> {
        if self.take(wanted) { Ok(()) } else { Err(self.found(&format!("`{wanted}`"))) }
    }

    /// A comma, or the end of the list, which stays to be taken.
    fn between(&mut self, end: char) -> Result<(), BadSketch> {
        if self.take(',') || self.next() == Some(end) { Ok(()) } else { Err(self.found(&format!("`,` or `{end}`"))) }
    }

    fn word(&mut self) -> Result<&'a str, BadSketch> {
        self.while_in("a name", |c| c.is_ascii_alphabetic() || c == '_')
    }

    fn number<N: std::str::FromStr>(&mut self) -> Result<N, BadSketch> {
        let before = self.rest;
        let digits = self.while_in("a number", |c| c.is_ascii_alphanumeric() || ['+', '-', '.'].contains(&c))?;
        digits.parse().map_err(|_| {
            self.rest = before;
            self.found("a number of its kind")
        })
    }

    fn while_in(&mut self, what: &str, is_in: impl Fn(char) -> bool) -> Result<&'a str, BadSketch> {
        self.next();
        let end = self.rest.find(|c| !is_in(c)).unwrap_or(self.rest.len());
        if end == 0 {
            return Err(self.found(what));
        }
        let (found, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(found)
    }

    fn found(&self, expected: &str) -> BadSketch {
        let at = self.text.len() - self.rest.len();
        let found = match self.rest.chars().next() {
            Some(found) => format!("{found:?}"),
            None => "the end".to_owned(),
        };
        BadSketch(format!("expected {expected}, found {found} at byte {at}"))
    }
}
