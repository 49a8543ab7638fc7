//! Times and dates as text: RFC 3339 and `YYYY-MM-DD`, to and from the numbers that values hold; and
//! the time now as such a number.
//!
//! The Gregorian calendar without leap seconds, as in proto3's JSON. What is read has a year of 1 to 9999;
//! every number that a value can hold is written, and no calendar crate reaches that far.

/// Microseconds in a second.
pub(super) const MICROS: i64 = 1_000_000;
const DAY: i64 = 86_400;
/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z in seconds: what a timestamp may be.
const EARLIEST: i64 = -62_135_596_800;
const LATEST: i64 = 253_402_300_799;

/// What the system's clock says, in microseconds since 1970.
pub fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Reads RFC 3339 with an offset or `Z`, as microseconds since 1970; digits beyond the sixth are cut.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (date, rest) = bytes.split_at_checked(10)?;
    let days = i64::from(date_of(date)?);
    let [b'T' | b't' | b' ', h1, h2, b':', m1, m2, b':', s1, s2, rest @ ..] = rest else { return None };
    let (hour, minute, second) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?, number(&[*s1, *s2])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (micros, rest) = fraction(rest)?;
    let offset = match rest {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 3600 + minutes * 60) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    let seconds = days * DAY + hour * 3600 + minute * 60 + second - offset;
    (EARLIEST..=LATEST).contains(&seconds).then_some(seconds * MICROS + micros)
}

/// Microseconds after the point, of up to nine digits, and what follows them.
fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.', digits @ ..] = rest else { return Some((0, rest)) };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&length) {
        return None;
    }
    let mut micros = 0;
    for at in 0..6 {
        micros = micros * 10 + digits[..length].get(at).map_or(0, |digit| i64::from(digit - b'0'));
    }
    Some((micros, &digits[length..]))
}

/// Reads `YYYY-MM-DD`, as days since 1970.
pub fn parse_date(text: &str) -> Option<i32> {
    date_of(text.as_bytes())
}

fn date_of(text: &[u8]) -> Option<i32> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let (year, month, day) = (number(&[*y1, *y2, *y3, *y4])?, number(&[*m1, *m2])?, number(&[*d1, *d2])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (year >= 1 && (1..=longest).contains(&day)).then(|| days_since_1970(year, month, day) as i32)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
}

/// Years are counted from March, so that the leap day is the last of its year; 146,097 days are 400 years.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The reverse: year, month, day.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

/// Microseconds since 1970 of a protobuf `Timestamp`; `None` outside of the years 1 to 9999.
pub fn from_parts(seconds: i64, nanos: i32) -> Option<i64> {
    let sound = (EARLIEST..=LATEST).contains(&seconds) && (0..1_000_000_000).contains(&nanos);
    sound.then(|| seconds * MICROS + i64::from(nanos / 1000))
}

/// RFC 3339 in UTC, always with six digits after the point, so that equal instants have equal text.
pub fn format_timestamp(micros: i64) -> String {
    let (seconds, micros) = (micros.div_euclid(MICROS), micros.rem_euclid(MICROS));
    let (date, second) = (format_date_of(seconds.div_euclid(DAY)), seconds.rem_euclid(DAY));
    format!("{date}T{:02}:{:02}:{:02}.{micros:06}Z", second / 3600, second / 60 % 60, second % 60)
}

/// `YYYY-MM-DD` of a day counted from 1970-01-01; a year outside of 0 to 9999 has a sign before it.
pub fn format_date(days: i32) -> String {
    format_date_of(i64::from(days))
}

fn format_date_of(days: i64) -> String {
    let (year, month, day) = civil(days);
    if (0..=9999).contains(&year) {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{year:+05}-{month:02}-{day:02}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn offsets_fractions_and_the_calendar_are_read() {
        let micros = 1_795_372_320_123_456;
        for text in [
            "2026-11-22T18:32:00.123456Z",
            "2026-11-22T18:32:00.123456789Z",
            "2026-11-22t19:32:00.123456+01:00",
            "2026-11-22 13:02:00.123456-05:30",
        ] {
            assert_eq!(parse_timestamp(text), Some(micros), "{text}");
        }
        assert_eq!(parse_timestamp("1969-12-31T23:59:59.5Z"), Some(-500_000));
        assert_eq!(parse_date("2000-02-29"), Some(11_016));
        for text in [
            "",
            "2026-11-22",
            "2026-11-22T18:32:00",
            "2026-11-22T18:32:00.Z",
            "2026-11-22T24:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-11-22T18:32:00.1234567891Z",
            "0001-01-01T00:00:00+01:00",
            "２026-11-22T18:32:00Z",
        ] {
            assert_eq!(parse_timestamp(text), None, "{text}");
        }
        assert_eq!((parse_date("1900-02-29"), parse_date("0000-01-01")), (None, None));
    }

    #[test]
    fn the_ends_of_time_have_a_text() {
        assert_eq!(format_timestamp(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(format_timestamp(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(format_timestamp(i64::MAX), "+294247-01-10T04:00:54.775807Z");
        assert_eq!(format_timestamp(i64::MIN), "-290308-12-21T19:59:05.224192Z");
        assert_eq!(format_date(i32::MAX), "+5881580-07-11");
        assert_eq!(format_date(i32::MIN), "-5877641-06-23");
    }

    proptest! {
        #[test]
        fn text_and_number_agree_with_chrono(seconds in EARLIEST..=LATEST, nanos in 0..1_000_000_000_u32) {
            let time = chrono::DateTime::from_timestamp(seconds, nanos).expect("in range");
            let micros = from_parts(seconds, nanos as i32);
            prop_assert_eq!(micros, Some(time.timestamp_micros()));
            prop_assert_eq!(parse_timestamp(&time.to_rfc3339()), micros);
            let written = format_timestamp(time.timestamp_micros());
            prop_assert_eq!(parse_timestamp(&written), micros);
            prop_assert_eq!(written, time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string());
            let days = seconds.div_euclid(DAY) as i32;
            prop_assert_eq!(format_date(days), time.date_naive().to_string());
            prop_assert_eq!(parse_date(&format_date(days)), Some(days));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _ = (parse_timestamp(&text), parse_date(&text));
        }
    }
}
