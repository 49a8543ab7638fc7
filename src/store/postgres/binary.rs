//! Values in the server's binary formats, written straight into the bytes that are sent.
//!
//! The client's own `BinaryCopyInWriter` takes a list of `ToSql` for each row, so that our values, whose columns are
//! planned at run time, would each be wrapped first, and it sends 4 KiB at a time.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// 2000-01-01T00:00:00Z, which the server counts from, in microseconds and days since 1970.
const EPOCH: i64 = 946_684_800_000_000;
const EPOCH_DAYS: i32 = 10_957;
/// 4714-11-24 BC, before which the server has no times, in microseconds since 2000.
const EARLIEST: i64 = -211_813_488_000_000_000;

/// Digits behind the point of a `numeric` at the most.
pub(in crate::store) const LONGEST_FRACTION: usize = 16_383;

/// Decimal digits in one digit of a `numeric`.
const GROUP: usize = 4;

/// Microseconds since 1970 as a `timestamptz`. What is before all the server's times is the first of them.
pub(in crate::store) fn timestamptz(micros: i64) -> i64 {
    micros.saturating_sub(EPOCH).max(EARLIEST)
}

/// Days since 1970 as a `date`; they are in the years 1 to 9999.
pub(in crate::store) fn date(days: i32) -> i32 {
    days.saturating_sub(EPOCH_DAYS)
}

/// A `timestamptz` in microseconds since 1970.
pub(in crate::store) struct Micros(pub(in crate::store) i64);

impl<'a> FromSql<'a> for Micros {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?).saturating_add(EPOCH)))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

/// Appends what `write` appends, its length before it.
pub(in crate::store) fn with_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let begun = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = (out.len() - begun - 4) as i32;
    out[begun..begun + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends bytes with their length.
pub(in crate::store) fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// What stands in place of a length where there is no value.
pub(in crate::store) const NULL: [u8; 4] = (-1_i32).to_be_bytes();

/// Appends a `numeric`, without a length, from canonical text: an optional `-`, digits, at most one point.
///
/// Of digits before the point there may be 131,072. Those behind the first `scale`, which is at most
/// [`LONGEST_FRACTION`], must be zeros and are left out.
pub(in crate::store) fn numeric(out: &mut Vec<u8>, text: &str, scale: usize) {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0').as_bytes();
    let scale = fraction.len().min(scale);
    let fraction = &fraction.as_bytes()[..scale];
    let groups_of_whole = whole.len().div_ceil(GROUP);
    let groups = groups_of_whole + scale.div_ceil(GROUP);
    // The whole part is filled up with zeros on its left, the fraction on its right.
    let shift = groups_of_whole * GROUP - whole.len();
    let group = |at: usize| {
        (0..GROUP).fold(0_i16, |sum, place| {
            let (digits, at) = if at < groups_of_whole {
                (whole, (at * GROUP + place).wrapping_sub(shift))
            } else {
                (fraction, (at - groups_of_whole) * GROUP + place)
            };
            sum * 10 + digits.get(at).map_or(0, |digit| i16::from(digit - b'0'))
        })
    };
    let first = (0..groups).find(|at| group(*at) != 0).unwrap_or(groups);
    let last = (first..groups).rfind(|at| group(*at) != 0).map_or(first, |at| at + 1);
    let zero = first == groups;
    // At 131,072 digits the number of groups is beyond an `i16`, and the weight is the largest that is one.
    let weight = if zero { 0 } else { (groups_of_whole as i32 - 1 - first as i32) as i16 };
    let sign: u16 = if negative && !zero { 0x4000 } else { 0 };
    out.extend_from_slice(&((last - first) as u16).to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&(scale as u16).to_be_bytes());
    for at in first..last {
        out.extend_from_slice(&group(at).to_be_bytes());
    }
}

/// Appends the head of an array of one dimension, without a length; its items follow, each with its own.
pub(in crate::store) fn array_head(out: &mut Vec<u8>, items: usize, nulls: bool, item: &Type) {
    if items == 0 {
        out.extend_from_slice(&0_i32.to_be_bytes());
        out.extend_from_slice(&0_i32.to_be_bytes());
        out.extend_from_slice(&item.oid().to_be_bytes());
        return;
    }
    out.extend_from_slice(&1_i32.to_be_bytes());
    out.extend_from_slice(&i32::from(nulls).to_be_bytes());
    out.extend_from_slice(&item.oid().to_be_bytes());
    out.extend_from_slice(&(items as i32).to_be_bytes());
    out.extend_from_slice(&1_i32.to_be_bytes());
}

/// An array as one parameter of a statement, its items appended one after the other.
#[derive(Debug)]
pub(in crate::store) struct Array {
    body: Vec<u8>,
    items: usize,
    nulls: bool,
    item: Type,
}

impl Array {
    pub(in crate::store) const fn of(item: Type) -> Self {
        Self { body: Vec::new(), items: 0, nulls: false, item }
    }

    pub(in crate::store) fn push(&mut self, item: &[u8]) {
        self.items += 1;
        bytes(&mut self.body, item);
    }

    pub(in crate::store) fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.items += 1;
        with_length(&mut self.body, write);
    }

    pub(in crate::store) fn push_null(&mut self) {
        self.items += 1;
        self.nulls = true;
        self.body.extend_from_slice(&NULL);
    }
}

impl ToSql for Array {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let mut head = Vec::with_capacity(20);
        array_head(&mut head, self.items, self.nulls, &self.item);
        out.reserve(head.len() + self.body.len());
        out.put_slice(&head);
        out.put_slice(&self.body);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (Vec<i16>, i16, bool, u16) {
        let mut out = Vec::new();
        numeric(&mut out, text, LONGEST_FRACTION);
        let words: Vec<i16> = out.chunks(2).map(|two| i16::from_be_bytes([two[0], two[1]])).collect();
        assert_eq!(usize::from(words[0] as u16), words.len() - 4);
        (words[4..].to_vec(), words[1], words[2] == 0x4000, words[3] as u16)
    }

    #[test]
    fn a_numeric_is_made_of_groups_of_four_digits() {
        assert_eq!(parts("0"), (vec![], 0, false, 0));
        assert_eq!(parts("-0.00"), (vec![], 0, false, 2));
        assert_eq!(parts("1.50"), (vec![1, 5000], 0, false, 2));
        assert_eq!(parts("-12345.6789"), (vec![1, 2345, 6789], 1, true, 4));
        assert_eq!(parts("100000000"), (vec![1], 2, false, 0));
        assert_eq!(parts("0.00001"), (vec![1000], -2, false, 5));
        assert_eq!(parts("9999.00010000"), (vec![9999, 1], 0, false, 8));
        let (whole, fraction) = ("9".repeat(131_072), "9".repeat(LONGEST_FRACTION));
        let mut groups = vec![9_999; 32_768 + 4_096];
        groups[32_768 + 4_095] = 9_990;
        assert_eq!(parts(&format!("{whole}.{fraction}")), (groups, i16::MAX, false, 16_383));
        let least = format!("-0.{}1", "0".repeat(LONGEST_FRACTION - 1));
        assert_eq!(parts(&least), (vec![10], -4_096, true, 16_383));
        let mut narrow = Vec::new();
        numeric(&mut narrow, &format!("1.5{}", "0".repeat(20_000)), 2);
        assert_eq!(narrow, [0, 2, 0, 0, 0, 0, 0, 2, 0, 1, 0x13, 0x88]);
    }

    #[test]
    fn times_are_counted_from_the_servers_epoch() {
        assert_eq!(timestamptz(EPOCH + 7), 7);
        assert_eq!(timestamptz(i64::MIN), EARLIEST);
        assert_eq!(timestamptz(i64::MAX), i64::MAX - EPOCH);
        assert_eq!(date(EPOCH_DAYS - 1), -1);
        let Micros(back) = Micros::from_sql(&Type::TIMESTAMPTZ, &7_i64.to_be_bytes()).expect("a time");
        assert_eq!(back, EPOCH + 7);
    }
}
