//! Which time a row has, and whether it can be true.

use std::sync::Arc;

use crate::sink::{ErrorClass, Refusal};
use crate::value::time::{format_timestamp, now};

/// Says what time it is, in microseconds since 1970. Tests give a fixed one.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The system's clock.
pub fn system_clock() -> Clock {
    Arc::new(now)
}

/// Microseconds of a duration; one too long for them counts as the longest.
pub fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
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
#[derive(Clone, Copy, Debug)]
pub struct Believable {
    /// Earliest.
    pub from: i64,
    /// Latest: the clock, plus the skew that is allowed.
    pub until: i64,
}

impl Believable {
    /// A time, or why it cannot be one.
    ///
    /// A time in the future would freeze a feature: nothing newer could come. One before `from` is
    /// what the store cannot hold.
    pub fn check(self, observed_at: i64) -> Result<i64, Refusal> {
        if observed_at > self.until {
            return Err(Refusal::new(
                ErrorClass::TimeInFuture,
                format!(
                    "observed at {}, later than {}, which is now and `max_future_skew`",
                    format_timestamp(observed_at),
                    format_timestamp(self.until)
                ),
            ));
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
        let believable = Believable { from: 0, until: 100 };
        assert_eq!(believable.check(0), Ok(0));
        assert_eq!(believable.check(100), Ok(100));
        assert_eq!(believable.check(101).expect_err("future").class, ErrorClass::TimeInFuture);
        assert_eq!(believable.check(-1).expect_err("past").class, ErrorClass::ValueRefused);
        assert_eq!(believable.check(i64::MAX).expect_err("future").class, ErrorClass::TimeInFuture);
    }
}
