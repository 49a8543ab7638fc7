//! How vectors are compared, and what of them another precision can hold.

use std::fmt;
use std::str::FromStr;

use half::f16;

use super::Vector;
use super::dtype::Precision;

/// How far apart two vectors are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Their Euclidean distance.
    #[default]
    L2,
    /// Their inner product, the larger the nearer; as a distance it is negative.
    Ip,
    /// One less the cosine of the angle between them.
    Cos,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 3] = [Self::L2, Self::Ip, Self::Cos];

    /// Its name in configurations and stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::Ip => "ip",
            Self::Cos => "cos",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|known| known.as_str() == text);
        known.ok_or_else(|| format!("unknown metric `{text}`; known are l2, ip, cos"))
    }
}

impl Vector {
    /// It in a precision that holds each of its elements exactly, `None` where that cannot; but doubles are rounded to
    /// singles, as not every store has them.
    pub fn exactly_in(&self, precision: Precision) -> Option<Self> {
        if self.precision() == precision {
            return Some(self.clone());
        }
        let elements = self.to_f64();
        Some(match precision {
            Precision::Fp64 => Self::Fp64(elements),
            Precision::Fp32 => Self::Fp32(elements.iter().map(|element| *element as f32).collect()),
            Precision::Fp16 => {
                let halves: Vec<f16> = elements.iter().map(|element| f16::from_f64(*element)).collect();
                let same = |(half, element): (&f16, &f64)| half.to_f64().total_cmp(element).is_eq() || element.is_nan();
                if !halves.iter().zip(&elements).all(same) {
                    return None;
                }
                Self::Fp16(halves.into_iter().map(f16::to_bits).collect())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_doubles_are_rounded_and_only_to_singles() {
        let (half, single, double) =
            (Vector::Fp16(vec![0x3c00]), Vector::Fp32(vec![1.0, 0.1]), Vector::Fp64(vec![0.1, 1e-60]));
        assert_eq!(half.exactly_in(Precision::Fp32), Some(Vector::Fp32(vec![1.0])));
        assert_eq!(half.exactly_in(Precision::Fp64), Some(Vector::Fp64(vec![1.0])));
        assert_eq!(single.exactly_in(Precision::Fp16), None);
        assert_eq!(Vector::Fp32(vec![0.5]).exactly_in(Precision::Fp16), Some(Vector::Fp16(vec![0x3800])));
        assert_eq!(single.exactly_in(Precision::Fp64), Some(Vector::Fp64(vec![1.0, f64::from(0.1_f32)])));
        assert_eq!(double.exactly_in(Precision::Fp32), Some(Vector::Fp32(vec![0.1, 0.0])));
        assert_eq!(double.exactly_in(Precision::Fp16), None);
    }

    #[test]
    fn a_metric_is_read_by_its_name() {
        for metric in Metric::ALL {
            assert_eq!(metric.to_string().parse(), Ok(metric));
        }
        assert_eq!("cosine".parse::<Metric>(), Err("unknown metric `cosine`; known are l2, ip, cos".to_owned()));
    }
}
