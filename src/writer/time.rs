//! Which time a row has, and whether it can be true.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use crate::sink::{ErrorClass, Refusal};
use crate::value::time::{format_timestamp, from_parts, now};

/// Says what time it is, in microseconds since 1970. Tests give a fixed one.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// 0001-01-01T00:00:00Z: the first time that every store has a date for.
pub const EARLIEST: i64 = -62_135_596_800_000_000;

/// The system's clock.
pub fn system_clock() -> Clock {
    Arc::new(now)
}

/// Microseconds of a duration; one too long for them counts as the longest.
pub fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Microseconds since 1970 of a published message's time; or why that is no time.
pub fn from_proto(given: &pbjson_types::Timestamp) -> Result<i64, String> {
    from_parts(given.seconds, given.nanos).ok_or_else(|| {
        let pbjson_types::Timestamp { seconds, nanos } = given;
        format!("expected a time in the years 1 to 9999, found {seconds} seconds and {nanos} nanoseconds")
    })
}

/// The times that a row may take its own from, all in microseconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
pub struct MessageTimes {
    /// The result's `observed_at`, else the event's time.
    pub message: Option<i64>,
    /// The bus's timestamp, for a message that says nothing itself.
    pub bus: Option<i64>,
}

/// The span in which an observed time is believed.
pub struct Believable {
    /// Earliest.
    from: i64,
    clock: Clock,
    /// How far ahead of the clock a time may be, microseconds.
    skew: i64,
    /// Latest: what the clock said last, plus the skew.
    until: AtomicI64,
    /// For how many times more that will do.
    left: AtomicU32,
}

/// The clock is read once for so many times, since reading it takes as long as decoding two values does; and
/// for every time that would be refused.
const AT_ONCE: u32 = 1_000;

impl Believable {
    /// From a time, in microseconds since 1970, until the clock and `skew` microseconds.
    pub fn new(from: i64, clock: Clock, skew: i64) -> Self {
        Self { from, clock, skew, until: AtomicI64::new(i64::MIN), left: AtomicU32::new(0) }
    }

    /// A time, or why it cannot be one.
    ///
    /// A time in the future would freeze a feature: nothing newer could come. One before `from` is
    /// what the store cannot hold.
    pub fn check(&self, observed_at: i64) -> Result<i64, Refusal> {
        if observed_at > self.until() {
            let until = self.look();
            if observed_at > until {
                return Err(Refusal::new(
                    ErrorClass::TimeInFuture,
                    format!(
                        "observed at {}, later than {}, which is now and `max_future_skew`",
                        format_timestamp(observed_at),
                        format_timestamp(until)
                    ),
                ));
            }
        }
        if observed_at < self.from {
            return Err(Refusal::new(
                ErrorClass::ValueRefused,
                format!(
                    "observed at {}, before {}, the earliest that is stored",
                    format_timestamp(observed_at),
                    format_timestamp(self.from)
                ),
            ));
        }
        Ok(observed_at)
    }

    fn until(&self) -> i64 {
        match self.left.load(Ordering::Relaxed) {
            0 => self.look(),
            left => {
                self.left.store(left - 1, Ordering::Relaxed);
                self.until.load(Ordering::Relaxed)
            }
        }
    }

    fn look(&self) -> i64 {
        let until = (self.clock)().saturating_add(self.skew);
        self.until.store(until, Ordering::Relaxed);
        self.left.store(AT_ONCE, Ordering::Relaxed);
        until
    }
}

/// The observed time of a row: its own, else the message's, else the bus's (counted).
pub fn observed_at(row: Option<i64>, times: MessageTimes) -> Result<i64, Refusal> {
    if let Some(known) = row.or(times.message) {
        return Ok(known);
    }
    let Some(bus) = times.bus else {
        return Err(Refusal::new(
            ErrorClass::Decode,
            "no observed time: none in the row, none in the message and no timestamp of the bus",
        ));
    };
    metrics::counter!("chalk_writer_bus_time_rows_total").increment(1);
    Ok(bus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_takes_its_own_time_then_the_messages_then_the_buss() {
        let times = |message, bus| MessageTimes { message, bus };
        assert_eq!(observed_at(Some(1), times(Some(2), Some(3))), Ok(1));
        assert_eq!(observed_at(None, times(Some(2), Some(3))), Ok(2));
        assert_eq!(observed_at(None, times(None, Some(3))), Ok(3));
        let refused = observed_at(None, times(None, None)).expect_err("no time at all");
        assert_eq!(refused.class, ErrorClass::Decode);
    }

    #[test]
    fn a_time_is_refused_beyond_the_skew_and_before_the_earliest() {
        let believable = Believable::new(0, Arc::new(|| 90), 10);
        assert_eq!(believable.check(0), Ok(0));
        assert_eq!(believable.check(100), Ok(100));
        assert_eq!(believable.check(101).expect_err("future").class, ErrorClass::TimeInFuture);
        assert_eq!(believable.check(-1).expect_err("past").class, ErrorClass::ValueRefused);
        assert_eq!(believable.check(i64::MAX).expect_err("future").class, ErrorClass::TimeInFuture);
    }

    #[test]
    fn a_time_is_judged_by_the_clock_as_it_is_before_it_is_refused_and_a_clock_set_back_is_noticed() {
        let now = Arc::new(AtomicI64::new(100));
        let clock = Arc::clone(&now);
        let believable = Believable::new(0, Arc::new(move || clock.load(Ordering::Relaxed)), 0);
        assert_eq!(believable.check(100), Ok(100));
        now.store(200, Ordering::Relaxed);
        assert_eq!(believable.check(200), Ok(200));
        now.store(50, Ordering::Relaxed);
        let refused = (0..=AT_ONCE).filter(|_| believable.check(200).is_err()).count();
        assert_eq!(refused, 1, "the last of so many");
    }
}
