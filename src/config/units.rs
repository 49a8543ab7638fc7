//! Durations (`250ms`, `1h`, `7d`) and sizes (`64MiB`) as people write them.

use std::time::Duration;

const DURATIONS: &[(&str, u64)] = &[
    ("us", 1),
    ("µs", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
    ("w", 604_800_000_000),
];

const SIZES: &[(&str, u64)] = &[
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
];

/// A duration of one part or more (`1h30m`), exact to the microsecond; `None` where it is not one.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut total: u64 = 0;
    let mut parts = 0;
    while !rest.is_empty() {
        let (part, behind) = amount(rest, DURATIONS)?;
        total = total.checked_add(part)?;
        rest = behind.trim_start();
        parts += 1;
    }
    (parts > 0).then(|| Duration::from_micros(total))
}

/// A number of bytes; `None` where it is not one.
pub(super) fn size(text: &str) -> Option<u64> {
    let (bytes, rest) = amount(text.trim(), SIZES)?;
    rest.is_empty().then_some(bytes)
}

/// A duration as it is written in a file, in the largest unit that holds it exactly.
pub fn show_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    if micros == 0 {
        return "0s".to_owned();
    }
    DURATIONS
        .iter()
        .rev()
        .filter(|(unit, _)| *unit != "w" && *unit != "µs")
        .find(|(_, length)| micros.is_multiple_of(u128::from(*length)))
        .map_or_else(|| format!("{micros}us"), |(unit, length)| format!("{}{unit}", micros / u128::from(*length)))
}

/// A number of bytes as it is written in a file.
pub fn show_size(bytes: u64) -> String {
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        .iter()
        .find(|(_, length)| bytes > 0 && bytes.is_multiple_of(*length))
        .map_or_else(|| format!("{bytes}B"), |(unit, length)| format!("{}{unit}", bytes / length))
}

/// Digits, a fraction if any, and a unit; in the smallest unit of the table, rounded down.
fn amount<'a>(text: &'a str, units: &[(&str, u64)]) -> Option<(u64, &'a str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, behind) = text.split_at(end);
    let behind = behind.trim_start();
    let end = behind.find(|c: char| !c.is_alphabetic()).unwrap_or(behind.len());
    let (unit, rest) = behind.split_at(end);
    let length = units.iter().find(|(name, _)| *name == unit)?.1;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || fraction.contains('.') || fraction.len() > 9 || (digits.contains('.') && fraction.is_empty())
    {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(length)?;
    let fraction = if fraction.is_empty() {
        0
    } else {
        let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        u64::try_from(fraction.parse::<u128>().ok()? * u128::from(length) / scale).ok()?
    };
    Some((whole.checked_add(fraction)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, micros) in [
            ("0s", 0),
            ("0", 0),
            ("250ms", 250_000),
            ("1.5s", 1_500_000),
            ("1h", 3_600_000_000),
            ("7d", 604_800_000_000),
            ("1w", 604_800_000_000),
            ("1h30m", 5_400_000_000),
            ("1h 30m", 5_400_000_000),
            ("2 us", 2),
        ] {
            assert_eq!(duration(text), Some(Duration::from_micros(micros)), "{text}");
        }
        for wrong in ["", "5", "s", "1y", "-1s", "1.s", ".5s", "1.2.3s", "1h30", "99999999999999999999s", "infinity"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_are_read_in_every_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("1024", 1024),
            ("64MiB", 64 << 20),
            ("512Mi", 512 << 20),
            ("1.5KiB", 1536),
            ("2 GB", 2_000_000_000),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for wrong in ["", "MiB", "64 mib", "-1", "1e6", "64MiBx", "99999999999GiB"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for micros in [0, 1, 1_500, 250_000, 25_000_000, 90_000_000, 604_800_000_000] {
            let given = Duration::from_micros(micros);
            assert_eq!(duration(&show_duration(given)), Some(given));
        }
        for bytes in [0, 1, 1023, 1024, 64 << 20, (64 << 20) + 1] {
            assert_eq!(size(&show_size(bytes)), Some(bytes));
        }
    }
}
