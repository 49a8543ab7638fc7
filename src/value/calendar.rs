//! Dates and instants as text, for every 64-bit instant: no calendar crate reaches that far.

/// Microseconds in a second.
pub(crate) const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// `YYYY-MM-DD` of a day counted from 1970-01-01; a year outside 0 to 9999 has a sign before it.
pub(crate) fn date_text(days: i64) -> String {
    let (year, month, day) = civil(days);
    if (0..=9999).contains(&year) {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{year:+05}-{month:02}-{day:02}")
    }
}

/// RFC 3339 in UTC, always with six digits of fraction, so equal instants have equal text.
pub(crate) fn instant_text(micros: i64) -> String {
    let date = date_text(micros.div_euclid(MICROS_PER_DAY));
    let of_day = micros.rem_euclid(MICROS_PER_DAY);
    let (seconds, fraction) = (of_day / MICROS_PER_SECOND, of_day % MICROS_PER_SECOND);
    format!("{date}T{:02}:{:02}:{:02}.{fraction:06}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Year, month and day in the Gregorian calendar, extended in both directions.
///
/// Years are counted from March, so that the leap day is the last of its year; eras of 400 years
/// have 146,097 days each, and the era that holds 1970 begins 719,468 days before it.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Days, NaiveDate};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_of_time_have_a_text() {
        assert_eq!(instant_text(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(instant_text(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(instant_text(i64::MAX), "+294247-01-10T04:00:54.775807Z");
        assert_eq!(instant_text(i64::MIN), "-290308-12-21T19:59:05.224192Z");
        assert_eq!(date_text(i64::from(i32::MAX)), "+5881580-07-11");
        assert_eq!(date_text(i64::from(i32::MIN)), "-5877641-06-23");
    }

    proptest! {
        #[test]
        fn every_day_of_the_common_calendar_agrees_with_chrono(days in -719_000_i64..2_932_000) {
            let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).expect("a date");
            let date = if days >= 0 {
                epoch + Days::new(days.unsigned_abs())
            } else {
                epoch - Days::new(days.unsigned_abs())
            };
            prop_assert_eq!(date_text(days), date.format("%Y-%m-%d").to_string());
        }

        #[test]
        fn every_instant_of_this_age_agrees_with_chrono(micros in 0..4_000_000_000_000_000_i64) {
            let known = DateTime::from_timestamp_micros(micros).expect("in range");
            prop_assert_eq!(instant_text(micros), known.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string());
        }
    }
}
