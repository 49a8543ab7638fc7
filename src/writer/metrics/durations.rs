//! Durations as a distribution takes them.

use crate::decode::Decoded;
use crate::row::contribution::Contribution;
use crate::writer::skip;

/// Those that can be: finite and not below zero. The others are counted as left out.
pub(super) fn durations(seconds: impl Iterator<Item = f64>, decoded: &mut Decoded<Contribution>) -> Vec<f64> {
    let mut sound = Vec::new();
    for seconds in seconds {
        if seconds.is_finite() && seconds >= 0.0 {
            sound.push(seconds);
        } else {
            decoded.skip(skip::NOT_A_NUMBER, 1);
        }
    }
    sound
}
