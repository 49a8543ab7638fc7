//! Decimals as text: one canonical form, and whether digits fit a declared precision and scale.

use std::borrow::Cow;

use super::Value;

/// The parts of a decimal without leading zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digits<'a> {
    /// Below zero.
    pub negative: bool,
    /// Before the point; empty for zero.
    pub whole: &'a str,
    /// After the point.
    pub fraction: &'a str,
}

impl<'a> Digits<'a> {
    /// Takes a decimal apart: an optional sign, digits, at most one `.` with digits on one side at
    /// least. An exponent is not a decimal here.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (negative, digits) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if !all_digits(whole) || !all_digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
            return None;
        }
        let whole = whole.trim_start_matches('0');
        let zero = whole.is_empty() && fraction.bytes().all(|byte| byte == b'0');
        Some(Self { negative: negative && !zero, whole, fraction })
    }

    /// Canonical text: no `+`, no leading zeros but one before the point, no negative zero; trailing
    /// zeros say the scale and stay.
    pub fn text(&self) -> String {
        let (sign, whole) =
            (if self.negative { "-" } else { "" }, if self.whole.is_empty() { "0" } else { self.whole });
        let point = if self.fraction.is_empty() { "" } else { "." };
        format!("{sign}{whole}{point}{}", self.fraction)
    }

    /// The text with exactly `scale` digits after the point, where nothing but zeros has to go and
    /// no more than `precision` digits remain.
    pub fn fit(&self, precision: u8, scale: u8) -> Option<String> {
        let scale = usize::from(scale);
        let (kept, cut) = self.fraction.split_at(self.fraction.len().min(scale));
        if cut.bytes().any(|byte| byte != b'0') || self.whole.len() + scale > usize::from(precision) {
            return None;
        }
        let padded = format!("{kept:0<scale$}");
        Some(
            Digits {
                fraction: &padded,
                whole: self.whole,
                negative: self.negative && !(self.whole.is_empty() && padded.bytes().all(|byte| byte == b'0')),
            }
            .text(),
        )
    }
}

/// The canonical text of a decimal, borrowed where it is canonical already.
pub fn canonical(text: &str) -> Option<Cow<'_, str>> {
    let digits = Digits::parse(text)?;
    let written = digits.text();
    Some(if written == text { Cow::Borrowed(text) } else { Cow::Owned(written) })
}

/// A decimal or integer as an integer of `10^-scale`; `None` where that would lose a digit.
pub fn scaled(value: &Value, precision: u8, scale: u8) -> Option<i128> {
    let limit = 10_i128.pow(u32::from(precision));
    let unit = 10_i128.pow(u32::from(scale));
    let scaled = match value {
        Value::Int(integer) => i128::from(*integer).checked_mul(unit)?,
        Value::Decimal(text) => {
            let (negative, digits) = text.strip_prefix('-').map_or((false, &**text), |digits| (true, digits));
            let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
            let fraction = fraction.trim_end_matches('0');
            if whole.is_empty() || fraction.len() > usize::from(scale) {
                return None;
            }
            let mut number = 0_i128;
            for byte in whole.bytes().chain(fraction.bytes()) {
                number =
                    number.checked_mul(10)?.checked_add(i128::from(byte.is_ascii_digit().then(|| byte - b'0')?))?;
            }
            let number = number.checked_mul(10_i128.pow(u32::from(scale) - fraction.len() as u32))?;
            if negative { -number } else { number }
        }
        _ => return None,
    };
    (scaled.abs() < limit).then_some(scaled)
}

/// The reverse: the text of an integer of `10^-scale`, which is given in its own digits.
pub fn unscaled(number: &str, scale: i8) -> String {
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    let Ok(scale) = usize::try_from(scale) else {
        let zeros = if digits == "0" { 0 } else { usize::from(scale.unsigned_abs()) };
        return format!("{number}{:0<zeros$}", "");
    };
    if scale == 0 {
        return number.to_owned();
    }
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &'static str) -> Value {
        Value::Decimal(text.into())
    }

    #[test]
    fn every_spelling_has_one_canonical_text() {
        for (text, expected) in [
            ("0", "0"),
            ("-0.00", "0.00"),
            ("+007.50", "7.50"),
            (".5", "0.5"),
            ("5.", "5"),
            ("-12.30", "-12.30"),
            ("123456789012345678901234567890.12", "123456789012345678901234567890.12"),
        ] {
            assert_eq!(canonical(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "-", ".", "1e5", "1.2.3", " 1", "1_000", "٣", "NaN", "--1"] {
            assert_eq!(canonical(text), None, "{text}");
        }
    }

    #[test]
    fn digits_fit_only_when_nothing_is_lost() {
        let fit = |text: &str| Digits::parse(text).and_then(|digits| digits.fit(5, 2));
        assert_eq!(fit("1.5").as_deref(), Some("1.50"));
        assert_eq!(fit("-999.99").as_deref(), Some("-999.99"));
        assert_eq!(fit("1.5000").as_deref(), Some("1.50"));
        assert_eq!(fit("000012").as_deref(), Some("12.00"));
        assert_eq!(fit("-0.001"), None);
        assert_eq!(fit("1000"), None);
    }

    #[test]
    fn a_decimal_is_exact_or_refused() {
        assert_eq!(scaled(&text("-12.340"), 4, 2), Some(-1234));
        assert_eq!(scaled(&text("12.345"), 10, 2), None);
        assert_eq!(scaled(&text("100"), 4, 2), None);
        assert_eq!(scaled(&text("99.99"), 4, 2), Some(9999));
        assert_eq!(scaled(&Value::Int(7), 4, 2), Some(700));
        for broken in ["", "-", ".5", "1e3", "1.2.3", "--1", "٣"] {
            assert_eq!(scaled(&text(broken), 38, 0), None, "{broken}");
        }
        let nines = "9".repeat(38);
        assert_eq!(scaled(&Value::Decimal(nines.into()), 38, 0), Some(10_i128.pow(38) - 1));
        assert_eq!(scaled(&Value::Decimal("9".repeat(60).into()), 38, 0), None);
    }

    #[test]
    fn a_scaled_integer_is_written_with_its_scale() {
        for (number, scale, expected) in [
            ("-1234", 2, "-12.34"),
            ("5", 3, "0.005"),
            ("-5", 1, "-0.5"),
            ("0", 2, "0.00"),
            ("12", 0, "12"),
            ("-12", -3, "-12000"),
            ("0", -3, "0"),
        ] {
            assert_eq!(unscaled(number, scale), expected);
        }
        assert_eq!(scaled(&text("-12.34"), 4, 2), Some(-1234));
    }
}
