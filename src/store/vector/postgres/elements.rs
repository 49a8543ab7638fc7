//! Vectors in pgvector's own text: `[1,-0.5,3e-10]`.

use std::io::Write as _;

use crate::value::Vector;
use crate::value::dtype::Precision;

/// Appends a vector, its elements in single precision, of which halves are a part.
///
/// The server's comparison makes no difference between the two zeros, so there is one alone.
pub(super) fn write(vector: &Vector, out: &mut Vec<u8>) {
    out.push(b'[');
    let mut comma: &[u8] = b"";
    for element in vector.to_f64() {
        out.extend_from_slice(comma);
        // Writing to memory cannot fail.
        let _ = write!(out, "{:e}", element as f32 + 0.0);
        comma = b",";
    }
    out.push(b']');
}

/// The vector in a text of the server's; `None` where it is no vector.
pub(super) fn read(text: &str, precision: Precision) -> Option<Vector> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    let elements = inner.split(',').map(|element| element.trim().parse::<f32>());
    let elements: Vec<f32> = elements.collect::<Result<_, _>>().ok()?;
    Some(match precision {
        Precision::Fp16 => {
            Vector::Fp16(elements.into_iter().map(|element| half::f16::from_f32(element).to_bits()).collect())
        }
        Precision::Fp32 => Vector::Fp32(elements),
        Precision::Fp64 => Vector::Fp64(elements.into_iter().map(f64::from).collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let elements = vec![0.0, 1.0, -0.1, f32::MIN_POSITIVE, f32::MAX, 1e-45, 16_777_217.0];
        let vector = Vector::Fp32(elements);
        let mut text = Vec::new();
        write(&vector, &mut text);
        let text = String::from_utf8(text).expect("text");
        assert_eq!(read(&text, Precision::Fp32), Some(vector), "{text}");
        let mut zero = Vec::new();
        write(&Vector::Fp64(vec![-0.0, -1e-300]), &mut zero);
        assert_eq!(zero, b"[0e0,0e0]");
        assert_eq!(read("1,2", Precision::Fp32), None);
    }
}
