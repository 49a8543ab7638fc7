//! How much rows weigh: about the bytes that they take in memory, and exactly the sum of what each weighs by itself.
//!
//! Where a file is cut hangs on it, and so do the names of what is made of it. The weight of rows is therefore the same in
//! whatever batches they are read, and in every version: it hangs on values alone, and on no layout in memory.

use arrow::array::{Array, ArrayRef, AsArray, OffsetSizeTrait};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType as Arrow;

/// What a value weighs at least, beside the length of one that has any.
const ONE: u64 = 8;

/// What the values of a column weigh.
pub(super) fn of(array: &dyn Array) -> u64 {
    let all = ONE * array.len() as u64;
    all + match array.data_type() {
        Arrow::Utf8 => span(array.as_string::<i32>().offsets()),
        Arrow::LargeUtf8 => span(array.as_string::<i64>().offsets()),
        Arrow::Binary => span(array.as_binary::<i32>().offsets()),
        Arrow::LargeBinary => span(array.as_binary::<i64>().offsets()),
        Arrow::Utf8View => array.as_string_view().iter().flatten().map(|text| text.len() as u64).sum(),
        Arrow::BinaryView => array.as_binary_view().iter().flatten().map(|bytes| bytes.len() as u64).sum(),
        Arrow::List(_) => items(array.as_list::<i32>().offsets(), array.as_list::<i32>().values()),
        Arrow::LargeList(_) => items(array.as_list::<i64>().offsets(), array.as_list::<i64>().values()),
        Arrow::Map(..) => {
            array.as_map().entries().columns().iter().map(|part| items(array.as_map().offsets(), part)).sum()
        }
        Arrow::FixedSizeList(..) => of(array.as_fixed_size_list().values()),
        Arrow::Struct(_) => array.as_struct().columns().iter().map(|part| of(part)).sum(),
        Arrow::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let (keys, values) = (dictionary.keys(), dictionary.values());
            // A value is copied for each row that has it. Keys of no values at all are null.
            let keys = if values.is_empty() {
                Vec::new()
            } else {
                (0..keys.len()).zip(dictionary.normalized_keys()).collect()
            };
            let given = keys.into_iter().filter(|(row, _)| dictionary.keys().is_valid(*row));
            given.map(|(_, key)| of(&values.slice(key, 1))).sum()
        }
        Arrow::FixedSizeBinary(width) => array.len() as u64 * u64::from(width.unsigned_abs()),
        other => array.len() as u64 * (other.primitive_width().unwrap_or_default() as u64).saturating_sub(ONE),
    }
}

fn span<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> u64 {
    let (from, to) = ends(offsets);
    (to - from) as u64
}

fn items<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>, values: &ArrayRef) -> u64 {
    let (from, to) = ends(offsets);
    of(&values.slice(from, to - from))
}

fn ends<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> (usize, usize) {
    (offsets[0].as_usize(), offsets[offsets.len() - 1].as_usize())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BinaryViewArray, BooleanArray, DictionaryArray, FixedSizeListArray, Float32Array, Int8Array, Int64Array,
        ListArray, StringArray, StringViewArray, StructArray,
    };
    use arrow::datatypes::{Field, Float32Type, Int32Type, Int64Type};

    use super::*;

    fn columns() -> Vec<ArrayRef> {
        let texts = || (0..100_usize).map(|n| (n % 3 > 0).then(|| "x".repeat(n)));
        let lists = (0..100_i64).map(|n| (n % 5 > 0).then(|| (0..n % 7).map(Some).collect::<Vec<_>>()));
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists));
        let vectors = (0..100).map(|n| (n % 2 > 0).then(|| vec![Some(1.0), Some(2.0)]));
        let plain: ArrayRef = Arc::new(texts().collect::<StringArray>());
        vec![
            Arc::new((0..100).map(|n| (n % 2 > 0).then_some(n)).collect::<Int64Array>()),
            Arc::new(Int8Array::from_iter_values(0..100)),
            Arc::new(BooleanArray::from(vec![true; 100])),
            Arc::new(Float32Array::from(vec![1.0; 100])),
            plain.clone(),
            Arc::new(texts().collect::<StringViewArray>()),
            Arc::new(texts().collect::<BinaryViewArray>()),
            Arc::new(
                (0..100).map(|n| (n % 3 > 0).then(|| ["a", "bbbb"][n % 2])).collect::<DictionaryArray<Int32Type>>(),
            ),
            Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, 2)),
            Arc::new(StructArray::from(vec![
                (Arc::new(Field::new("l", lists.data_type().clone(), true)), lists.clone()),
                (Arc::new(Field::new("t", Arrow::Utf8, true)), plain),
            ])),
            lists,
        ]
    }

    #[test]
    fn rows_weigh_what_each_of_them_does() {
        for column in columns() {
            let each: u64 = (0..column.len()).map(|row| of(&column.slice(row, 1))).sum();
            assert_eq!(of(&column), each, "{}", column.data_type());
            assert_eq!(of(&column.slice(0, 33)) + of(&column.slice(33, 67)), each, "{}", column.data_type());
        }
    }

    #[test]
    fn a_column_weighs_the_same_in_every_version() {
        let weights: Vec<u64> = columns().iter().map(|column| of(column)).collect();
        assert_eq!(weights, WEIGHTS);
    }

    /// File names hang on them.
    const WEIGHTS: [u64; 11] = [800, 800, 800, 800, 4067, 4067, 4067, 1493, 2400, 7539, 2672];
}
