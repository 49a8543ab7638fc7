//! Sums without rounding: of however many doubles, in whatever order, the same number.

/// Bits of a digit.
const WIDTH: i32 = 32;
/// After so many additions carries are settled, long before a digit of 63 bits is full.
const UNSETTLED: u32 = 1 << 29;

/// The exact sum of doubles, or of their squares: a number in base 2^32 that is as long as it has to be.
///
/// Doubles of everyday sizes take four or five digits; no two are too far apart to be added.
#[derive(Clone, Debug, Default)]
pub struct ExactSum {
    /// The place of the first digit: its unit is `2^(32 * lowest)`.
    lowest: i32,
    /// Each holds more than a digit until carries are settled; the sign is that of the last.
    digits: Vec<i64>,
    unsettled: u32,
}

impl ExactSum {
    /// Nothing: zero.
    pub const fn new() -> Self {
        Self { lowest: 0, digits: Vec::new(), unsettled: 0 }
    }

    /// Adds a finite number; what is none is for the caller to tell apart, and adds nothing here.
    pub fn add(&mut self, value: f64) {
        if let Some((mantissa, exponent)) = parts(value) {
            self.add_bits(value < 0.0, mantissa, exponent);
        }
    }

    /// Adds the square of a finite number.
    pub fn add_square(&mut self, value: f64) {
        if let Some((mantissa, exponent)) = parts(value) {
            let square = u128::from(mantissa) * u128::from(mantissa);
            self.add_bits(false, square as u64, 2 * exponent);
            self.add_bits(false, (square >> 64) as u64, 2 * exponent + 64);
        }
    }

    /// Adds what another one sums up to.
    pub fn merge(&mut self, other: &Self) {
        self.merge_signed(other, 1);
    }

    /// The sum, rounded once.
    pub fn value(&self) -> f64 {
        let (mantissa, exponent) = self.rounded();
        scaled(mantissa, exponent)
    }

    /// The sum divided by a count, rounded twice; it may be in range where the sum is not.
    pub(super) fn over(&self, count: f64) -> f64 {
        let (mantissa, exponent) = self.rounded();
        scaled(mantissa / count, exponent)
    }

    /// `count * squares - sum * sum`, exactly: the variance of `count` numbers times the square of their count.
    pub(super) fn spread(count: u64, squares: &Self, sum: &Self) -> Self {
        let (_, sum_place, sum) = sum.magnitude();
        let (_, squares_place, squares) = squares.magnitude();
        let mut spread = Self::of_digits(squares_place, &product(&squares, &[count as u32, (count >> 32) as u32]));
        spread.merge_signed(&Self::of_digits(2 * sum_place, &product(&sum, &sum)), -1);
        spread
    }

    fn of_digits(lowest: i32, digits: &[u32]) -> Self {
        let digits = digits.iter().copied().map(i64::from).collect();
        Self { lowest, digits, unsettled: 0 }
    }

    fn merge_signed(&mut self, other: &Self, sign: i64) {
        if other.digits.is_empty() {
            return;
        }
        if self.unsettled + other.unsettled >= UNSETTLED {
            self.settle();
        }
        self.make_room(other.lowest, other.lowest + other.digits.len() as i32);
        let from = (other.lowest - self.lowest) as usize;
        for (digit, added) in self.digits[from..].iter_mut().zip(&other.digits) {
            *digit += sign * added;
        }
        self.unsettled += other.unsettled + 1;
        if self.unsettled >= UNSETTLED {
            self.settle();
        }
    }

    fn add_bits(&mut self, negative: bool, bits: u64, exponent: i32) {
        if bits == 0 {
            return;
        }
        let place = exponent.div_euclid(WIDTH);
        let shifted = u128::from(bits) << exponent.rem_euclid(WIDTH);
        self.make_room(place, place + 3);
        let from = (place - self.lowest) as usize;
        for (at, digit) in self.digits[from..from + 3].iter_mut().enumerate() {
            let added = i64::from((shifted >> (32 * at)) as u32);
            *digit += if negative { -added } else { added };
        }
        self.unsettled += 1;
        if self.unsettled >= UNSETTLED {
            self.settle();
        }
    }

    /// Makes sure that there are digits for the places `from` up to `to`.
    fn make_room(&mut self, from: i32, to: i32) {
        if self.digits.is_empty() {
            self.lowest = from;
        }
        if from < self.lowest {
            let missing = (self.lowest - from) as usize;
            self.digits.splice(..0, std::iter::repeat_n(0, missing));
            self.lowest = from;
        }
        let length = (to - self.lowest) as usize;
        if self.digits.len() < length {
            self.digits.resize(length, 0);
        }
    }

    /// Settles carries, so that one number has one form: digits of 32 bits, no zeros at either end, and the last
    /// digit below zero where the number is.
    fn settle(&mut self) {
        let mut carry = 0;
        for digit in &mut self.digits {
            let sum = *digit + carry;
            carry = sum >> WIDTH;
            *digit = sum & 0xffff_ffff;
        }
        while carry != 0 && carry != -1 {
            self.digits.push(carry & 0xffff_ffff);
            carry >>= WIDTH;
        }
        if carry == -1 {
            self.digits.push(-1);
            // A digit of ones below the sign says nothing that the sign does not.
            while let [.., below, -1] = self.digits[..]
                && below == 0xffff_ffff
            {
                self.digits.pop();
                self.digits.pop();
                self.digits.push(-1);
            }
        }
        while self.digits.last() == Some(&0) {
            self.digits.pop();
        }
        let zeros = self.digits.iter().take_while(|digit| **digit == 0).count();
        self.digits.drain(..zeros);
        self.lowest = if self.digits.is_empty() { 0 } else { self.lowest + zeros as i32 };
        self.unsettled = 0;
    }

    fn settled(&self) -> Self {
        let mut settled = self.clone();
        settled.settle();
        settled
    }

    /// Sign, place of the first digit, digits.
    fn magnitude(&self) -> (bool, i32, Vec<u32>) {
        let mut settled = self.settled();
        let negative = settled.digits.last().is_some_and(|digit| *digit < 0);
        if negative {
            for digit in &mut settled.digits {
                *digit = -*digit;
            }
            settled.settle();
        }
        (negative, settled.lowest, settled.digits.iter().map(|digit| *digit as u32).collect())
    }

    /// Of the number the first 53 bits, rounded to even, and the power of two that they count.
    fn rounded(&self) -> (f64, i32) {
        let (negative, lowest, digits) = self.magnitude();
        let Some(last) = digits.last() else { return (0.0, 0) };
        let length = digits.len() as u32 * 32 - last.leading_zeros();
        let bit = |at: u32| u64::from(digits[(at / 32) as usize] >> (at % 32) & 1);
        let cut = length.saturating_sub(53);
        let mut mantissa = (cut..length).rev().fold(0, |mantissa, at| mantissa << 1 | bit(at));
        if cut > 0 && bit(cut - 1) == 1 {
            let beyond_half = (0..cut - 1).any(|at| bit(at) == 1);
            mantissa += u64::from(beyond_half || mantissa & 1 == 1);
        }
        let mantissa = mantissa as f64;
        (if negative { -mantissa } else { mantissa }, lowest * WIDTH + cut as i32)
    }
}

impl PartialEq for ExactSum {
    fn eq(&self, other: &Self) -> bool {
        let (one, other) = (self.settled(), other.settled());
        one.lowest == other.lowest && one.digits == other.digits
    }
}

impl Eq for ExactSum {}

/// Mantissa and exponent of a number's magnitude; `None` where it is zero, infinite or none.
fn parts(value: f64) -> Option<(u64, i32)> {
    if value == 0.0 || !value.is_finite() {
        return None;
    }
    let bits = value.to_bits();
    let (fraction, exponent) = (bits & ((1 << 52) - 1), (bits >> 52 & 0x7ff) as i32);
    Some(if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) })
}

/// `mantissa * 2^exponent`, infinite where it is too large for a double.
fn scaled(mut mantissa: f64, mut exponent: i32) -> f64 {
    while exponent != 0 && mantissa != 0.0 && mantissa.is_finite() {
        let step = exponent.clamp(-1000, 1000);
        mantissa *= 2_f64.powi(step);
        exponent -= step;
    }
    mantissa
}

fn product(one: &[u32], other: &[u32]) -> Vec<u32> {
    let mut digits = vec![0_u32; one.len() + other.len()];
    for (at, factor) in one.iter().enumerate() {
        let mut carry = 0;
        for (digit, other) in digits[at..].iter_mut().zip(other.iter().chain(std::iter::repeat(&0))) {
            let sum = u64::from(*factor) * u64::from(*other) + u64::from(*digit) + carry;
            *digit = sum as u32;
            carry = sum >> WIDTH;
        }
    }
    digits
}
