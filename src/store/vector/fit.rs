//! What a vector must be to be stored, and in which form it is.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::Made;
use crate::row::vector::{VectorFeature, VectorRow};
use crate::sink::{ErrorClass, Refusal};
use crate::value::{Metric, Vector};

/// Bytes of a payload at the most, as the message has them.
const LARGEST_PAYLOAD: usize = 64 * 1024 * 1024;

/// Features that a store makes tables for at the most. Each has an index, and a message may name as many as it likes.
pub(super) const MOST_FEATURES: i64 = 1_000;

/// Why a row is refused whose table would be one too many.
pub(super) fn one_too_many(row: &VectorRow) -> Refusal {
    at(too_many(&row.key.feature), row)
}

/// The same, of a feature.
pub(super) fn too_many(feature: &VectorFeature) -> Refusal {
    let message = format!(
        "`{feature}` has no table yet, and there are {MOST_FEATURES} in this store, which is the most: list the \
         features that are wanted (`features` of the environment), or remove tables that are not"
    );
    Refusal::new(ErrorClass::ValueRefused, message).harmless()
}

/// Why no vector store takes a row, where that is so; which table it is for does not matter yet.
pub(super) fn refusal(row: &VectorRow) -> Option<Refusal> {
    let point = row.point.as_ref()?;
    let elements = point.vector.to_f64();
    let refuse = |message: String| Some(at(Refusal::new(ErrorClass::ValueRefused, message).harmless(), row));
    if elements.is_empty() {
        let message = "a vector without elements".to_owned();
        return Some(at(Refusal::new(ErrorClass::DimensionMismatch, message).harmless(), row));
    }
    if let Some(place) = elements.iter().position(|element| !(*element as f32).is_finite()) {
        return refuse(format!("element {place} of the vector is no finite number of single precision"));
    }
    let largest = LARGEST_PAYLOAD;
    (point.payload.heap_size() > largest).then(|| {
        let message = format!("the payload is larger than {largest} bytes");
        at(Refusal::new(ErrorClass::TooLarge, message).harmless(), row)
    })
}

/// Adds to a verdict which row it is on.
pub(super) fn at(refusal: Refusal, row: &VectorRow) -> Refusal {
    let feature = &row.key.feature;
    refusal.row(format_args!("{}/{}", feature.namespace, row.key.id)).table(feature)
}

/// The vector of a row as its table keeps it, or why that cannot be. Only doubles are ever rounded, to singles.
pub(super) fn fitted(row: &VectorRow, vector: &Arc<Vector>, made: Made) -> Result<Arc<Vector>, Refusal> {
    let Made { dimension, metric, precision } = made;
    let refused = |class, message: String| Err(at(Refusal::new(class, message).harmless(), row));
    if vector.dimension() != dimension {
        let found = vector.dimension();
        let message = format!("a vector of dimension {found}; the table of `{}` has {dimension}", row.key.feature);
        return refused(ErrorClass::DimensionMismatch, message);
    }
    let fitted = if vector.precision() == precision {
        Some(Arc::clone(vector))
    } else {
        vector.exactly_in(precision).map(Arc::new)
    };
    let Some(fitted) = fitted else {
        let (given, kept) = (vector.precision().as_str(), precision.as_str());
        let message =
            format!("a vector of {given} that {kept}, which the table of `{}` has, cannot hold", row.key.feature);
        return refused(ErrorClass::ValueRefused, message);
    };
    if metric == Metric::Cos && fitted.to_f64().iter().all(|element| *element as f32 == 0.0) {
        return refused(ErrorClass::ValueRefused, "a vector of zeros has no direction, and so no cosine".to_owned());
    }
    Ok(fitted)
}

/// Says that a row names another metric than its table has; the table's stays. Once a table in the process.
pub(super) fn warn_of_another_metric(row: &VectorRow, made: Made) {
    static SAID: Mutex<BTreeSet<VectorFeature>> = Mutex::new(BTreeSet::new());
    if row.metric == made.metric {
        return;
    }
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.insert(VectorFeature::clone(&row.key.feature)) {
        tracing::warn!(
            feature = %row.key.feature, table = %made.metric, message = %row.metric,
            "vectors name another metric than their table was made with; the table's stays"
        );
    }
}
