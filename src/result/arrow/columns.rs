//! A column of any Arrow type as one of the types that values have, without loss.
//!
//! What a single value makes impossible (an unsigned integer beyond 64 bits with a sign, a time outside the
//! years 1 to 9999) is a fault of its row; so is every value of a type that no value has, such as an interval.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::types::{
    Date32Type, Date64Type, Decimal128Type, Decimal256Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt64Type,
};
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryViewArray, FixedSizeListArray, ListArray, NullArray,
    PrimitiveArray, StringViewArray, StructArray, make_array, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType as Arrow, Field, Fields, TimeUnit, i256};
use arrow::error::ArrowError;
use hashbrown::HashSet;

use super::{Budget, malformed};
use crate::sink::Refusal;
use crate::value::arrow::{element, timestamp};

/// Rows that have no value in a column, and why.
pub type Faults = BTreeMap<usize, String>;

/// The budget of one more fault, or of many alike.
fn at_fault(rows: usize, fault: &str, budget: &mut Budget) -> Result<(), Refusal> {
    budget.take_rows(rows, size_of::<(usize, String)>() + fault.len())
}

/// A column in one of the types of [`crate::value::arrow`].
#[derive(Clone, Debug)]
pub struct Column {
    /// A value, or null, for every row.
    pub array: ArrayRef,
    /// Rows whose value is not to be used.
    pub faults: Faults,
}

/// Years 1 to 9999, which is what every other encoding can say: as microseconds and as days.
const TIMES: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;
const DAYS: std::ops::RangeInclusive<i64> = -719_162..=2_932_896;
const DAY_MILLIS: i64 = 86_400_000;

impl Column {
    fn sound(array: impl Array + 'static) -> Self {
        Self { array: Arc::new(array), faults: Faults::new() }
    }

    /// Makes the type of an array one that values have.
    pub(super) fn of(array: &ArrayRef, budget: &mut Budget) -> Result<Self, Refusal> {
        let sound = |array: ArrayRef| Ok(Self { array, faults: Faults::new() });
        match array.data_type() {
            Arrow::Null | Arrow::Boolean | Arrow::Int64 | Arrow::Float64 | Arrow::Utf8 | Arrow::Binary => {
                sound(array.clone())
            }
            Arrow::Int8 | Arrow::Int16 | Arrow::Int32 | Arrow::UInt8 | Arrow::UInt16 | Arrow::UInt32 => {
                sound(converted(array, &Arrow::Int64, budget)?)
            }
            Arrow::UInt64 => unsigned(array.as_primitive(), budget),
            Arrow::Float16 | Arrow::Float32 => sound(converted(array, &Arrow::Float64, budget)?),
            Arrow::LargeUtf8 => sound(converted(array, &Arrow::Utf8, budget)?),
            Arrow::LargeBinary | Arrow::FixedSizeBinary(_) => sound(converted(array, &Arrow::Binary, budget)?),
            Arrow::Utf8View => {
                let views: &StringViewArray = array.as_string_view();
                budget.take_bytes(views.iter().flatten().map(|text| text.len() as u64).sum())?;
                sound(cast(array, &Arrow::Utf8).map_err(wrong)?)
            }
            Arrow::BinaryView => {
                let views: &BinaryViewArray = array.as_binary_view();
                budget.take_bytes(views.iter().flatten().map(|bytes| bytes.len() as u64).sum())?;
                sound(cast(array, &Arrow::Binary).map_err(wrong)?)
            }
            Arrow::Timestamp(unit, _) => times(array, *unit, budget),
            Arrow::Date32 => days::<Date32Type>(array.as_primitive(), |day| Some(i64::from(day)), budget),
            Arrow::Date64 => {
                let day = |millis| (millis % DAY_MILLIS == 0).then_some(millis / DAY_MILLIS);
                days::<Date64Type>(array.as_primitive(), day, budget)
            }
            Arrow::Decimal32(precision, scale) | Arrow::Decimal64(precision, scale) => {
                let wider = converted(array, &Arrow::Decimal128(*precision, *scale), budget)?;
                Self::of(&wider, budget)
            }
            Arrow::Decimal128(precision, scale) if *scale >= 0 => {
                let limit = 10_i128.checked_pow(u32::from(*precision));
                decimals::<Decimal128Type>(array.as_primitive(), limit, budget)
            }
            Arrow::Decimal256(precision, scale) if *scale >= 0 => {
                let limit = i256::from(10).checked_pow(u32::from(*precision));
                decimals::<Decimal256Type>(array.as_primitive(), limit, budget)
            }
            Arrow::Decimal128(..) | Arrow::Decimal256(..) => whole_decimals(array, budget),
            Arrow::List(_) => {
                let list = array.as_list::<i32>();
                lists(list.offsets().clone(), list.values(), list.nulls().cloned(), budget)
            }
            Arrow::LargeList(_) => {
                let list = array.as_list::<i64>();
                let offsets: Option<Vec<i32>> =
                    list.offsets().iter().map(|offset| i32::try_from(*offset).ok()).collect();
                let offsets = offsets.ok_or_else(|| malformed("a list of more than 2^31 items"))?;
                lists(OffsetBuffer::new(offsets.into()), list.values(), list.nulls().cloned(), budget)
            }
            Arrow::Map(..) => {
                let map = array.as_map();
                let entries: ArrayRef = Arc::new(named(map.entries(), ["key", "value"]));
                lists(map.offsets().clone(), &entries, map.nulls().cloned(), budget)
            }
            Arrow::FixedSizeList(field, _) => {
                let list = array.as_fixed_size_list();
                match field.data_type() {
                    Arrow::Float16 | Arrow::Float32 | Arrow::Float64 => vectors(list, budget),
                    _ => {
                        let width = list.value_length();
                        let ends = (0..=list.len()).map(|at| i32::try_from(at).ok()?.checked_mul(width));
                        let offsets: Option<Vec<i32>> = ends.collect();
                        let offsets = offsets.ok_or_else(|| malformed("a list of more than 2^31 items"))?;
                        lists(OffsetBuffer::new(offsets.into()), list.values(), list.nulls().cloned(), budget)
                    }
                }
            }
            Arrow::Struct(_) => structs(array.as_struct(), budget),
            Arrow::Dictionary(_, values) if !values.is_nested() => dictionary(array, budget),
            other => no_type(array, other, budget),
        }
    }

    /// Batches of one column as one, in their order.
    pub(super) fn concatenated(mut parts: Vec<Self>) -> Result<Self, Refusal> {
        if parts.is_empty() {
            return Ok(Self::sound(NullArray::new(0)));
        }
        if parts.len() == 1 {
            return Ok(parts.remove(0));
        }
        let mut faults = Faults::new();
        let mut before = 0;
        for part in &mut parts {
            faults.extend(std::mem::take(&mut part.faults).into_iter().map(|(row, fault)| (before + row, fault)));
            before += part.array.len();
        }
        let arrays: Vec<&dyn Array> = parts.iter().map(|part| &*part.array).collect();
        Ok(Self { array: arrow::compute::concat(&arrays).map_err(wrong)?, faults })
    }
}

fn wrong(error: ArrowError) -> Refusal {
    malformed(error)
}

/// A conversion that loses nothing, and makes no more than eight bytes of one.
fn converted(array: &ArrayRef, to: &Arrow, budget: &mut Budget) -> Result<ArrayRef, Refusal> {
    budget.take_bytes(crate::value::arrow::size(array) as u64)?;
    cast(array, to).map_err(wrong)
}

fn unsigned(array: &PrimitiveArray<UInt64Type>, budget: &mut Budget) -> Result<Column, Refusal> {
    let fits = |number| i64::try_from(number).map_err(|_| format!("integer {number} does not fit 64 bits"));
    checked::<UInt64Type, arrow::array::types::Int64Type>(array, fits, budget)
}

/// Each value as another, or why it is none.
fn checked<A: ArrowPrimitiveType, B: ArrowPrimitiveType>(
    array: &PrimitiveArray<A>,
    value: impl Fn(A::Native) -> Result<B::Native, String>,
    budget: &mut Budget,
) -> Result<Column, Refusal> {
    let mut faults = Faults::new();
    let mut values: Vec<B::Native> = Vec::with_capacity(array.len());
    for (at, number) in array.values().iter().enumerate() {
        values.push(match value(*number) {
            Ok(value) => value,
            Err(fault) => {
                if array.is_valid(at) {
                    at_fault(1, &fault, budget)?;
                    faults.insert(at, fault);
                }
                B::Native::default()
            }
        });
    }
    let values: ScalarBuffer<B::Native> = values.into();
    let array = PrimitiveArray::<B>::new(values, array.nulls().cloned());
    Ok(Column { array: Arc::new(array), faults })
}

fn times(array: &ArrayRef, unit: TimeUnit, budget: &mut Budget) -> Result<Column, Refusal> {
    let from = |per_second: i64| {
        move |time: i64| {
            let micros = match per_second {
                // Finer digits are cut, as in every encoding.
                1_000_000_000 => Some(time.div_euclid(1_000)),
                slower => time.checked_mul(1_000_000 / slower),
            };
            micros
                .filter(|micros| TIMES.contains(micros))
                .ok_or_else(|| format!("timestamp {time}, of {per_second} a second, is outside the years 1 to 9999"))
        }
    };
    let column = match unit {
        TimeUnit::Second => {
            checked::<TimestampSecondType, TimestampMicrosecondType>(array.as_primitive(), from(1), budget)
        }
        TimeUnit::Millisecond => {
            checked::<TimestampMillisecondType, TimestampMicrosecondType>(array.as_primitive(), from(1_000), budget)
        }
        TimeUnit::Microsecond => {
            checked::<TimestampMicrosecondType, TimestampMicrosecondType>(array.as_primitive(), from(1_000_000), budget)
        }
        TimeUnit::Nanosecond => checked::<TimestampNanosecondType, TimestampMicrosecondType>(
            array.as_primitive(),
            from(1_000_000_000),
            budget,
        ),
    }?;
    let array = column.array.as_primitive::<TimestampMicrosecondType>().clone().with_data_type(timestamp());
    Ok(Column { array: Arc::new(array), ..column })
}

fn days<A: ArrowPrimitiveType>(
    array: &PrimitiveArray<A>,
    day: impl Fn(A::Native) -> Option<i64>,
    budget: &mut Budget,
) -> Result<Column, Refusal> {
    let checked_day = |number| {
        let day = day(number).ok_or_else(|| format!("date {number:?} is not a whole day in milliseconds"))?;
        if DAYS.contains(&day) {
            Ok(day as i32)
        } else {
            Err(format!("day {day} since 1970 is outside the years 1 to 9999"))
        }
    };
    checked::<A, Date32Type>(array, checked_day, budget)
}

/// Decimals are of their own type already, but nobody has counted their digits.
fn decimals<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    limit: Option<T::Native>,
    budget: &mut Budget,
) -> Result<Column, Refusal>
where
    T::Native: PartialOrd + std::ops::Neg<Output = T::Native>,
{
    let mut column = Column::sound(array.clone());
    let Some(limit) = limit else { return Ok(column) };
    for (at, number) in array.values().iter().enumerate() {
        if !(*number < limit && *number > -limit) && array.is_valid(at) {
            let fault = format!("{number:?} has more digits than {}", array.data_type());
            at_fault(1, &fault, budget)?;
            column.faults.insert(at, fault);
        }
    }
    Ok(column)
}

/// Decimals whose last digits are zeros that were not sent.
fn whole_decimals(array: &ArrayRef, budget: &mut Budget) -> Result<Column, Refusal> {
    let scale = match array.data_type() {
        Arrow::Decimal128(_, scale) | Arrow::Decimal256(_, scale) => u32::from(scale.unsigned_abs()),
        other => return Err(malformed(format_args!("{other} is not a decimal"))),
    };
    let numbers: Vec<i256> = match array.data_type() {
        Arrow::Decimal128(..) => {
            array.as_primitive::<Decimal128Type>().values().iter().map(|number| i256::from_i128(*number)).collect()
        }
        _ => array.as_primitive::<Decimal256Type>().values().to_vec(),
    };
    let plain = PrimitiveArray::<Decimal256Type>::new(numbers.into(), array.nulls().cloned());
    let limit = i256::from(10).wrapping_pow(76);
    let unit = i256::from(10).checked_pow(scale);
    let whole = |number: i256| {
        let whole = unit.and_then(|unit| number.checked_mul(unit));
        let whole = whole.filter(|whole| *whole < limit && *whole > -limit);
        whole.ok_or_else(|| format!("{number} and {scale} zeros are more than 76 digits"))
    };
    let column = checked::<Decimal256Type, Decimal256Type>(&plain, whole, budget)?;
    let array = column.array.as_primitive::<Decimal256Type>().clone();
    let array = array.with_precision_and_scale(76, 0).map_err(wrong)?;
    Ok(Column { array: Arc::new(array), ..column })
}

/// The faults of items as those of the rows that have them.
fn of_rows(items: Faults, offsets: &[i32], nulls: Option<&NullBuffer>) -> Faults {
    let mut faults = Faults::new();
    for (item, fault) in items {
        let row = offsets.partition_point(|offset| (*offset as usize) <= item);
        // Items before the first offset and behind the last are nobody's.
        if row > 0 && row < offsets.len() && nulls.is_none_or(|nulls| nulls.is_valid(row - 1)) {
            let at = item - offsets[row - 1] as usize;
            faults.entry(row - 1).or_insert_with(|| format!("[{at}]: {fault}"));
        }
    }
    faults
}

fn lists(
    offsets: OffsetBuffer<i32>,
    items: &ArrayRef,
    nulls: Option<NullBuffer>,
    budget: &mut Budget,
) -> Result<Column, Refusal> {
    let Column { array, faults } = Column::of(items, budget)?;
    let faults = of_rows(faults, &offsets, nulls.as_ref());
    let field = element(array.data_type().clone());
    let list = ListArray::try_new(field, offsets, array, nulls).map_err(wrong)?;
    Ok(Column { array: Arc::new(list), faults })
}

/// A struct whose fields have other names.
fn named(entries: &StructArray, names: [&str; 2]) -> StructArray {
    let fields = entries.fields().iter().zip(names);
    let fields: Fields = fields.map(|(field, name)| Field::new(name, field.data_type().clone(), true)).collect();
    StructArray::new(fields, entries.columns().to_vec(), entries.nulls().cloned())
}

fn structs(array: &StructArray, budget: &mut Budget) -> Result<Column, Refusal> {
    let mut faults = Faults::new();
    let mut names = HashSet::new();
    if let Some(twice) = array.fields().iter().find(|field| !names.insert(field.name())) {
        let fault = format!("field `{}` stands twice in a struct", twice.name());
        at_fault(array.len() - array.null_count(), &fault, budget)?;
        let rows = (0..array.len()).filter(|row| array.is_valid(*row));
        return Ok(Column {
            array: Arc::new(NullArray::new(array.len())),
            faults: rows.map(|row| (row, fault.clone())).collect(),
        });
    }
    if array.num_columns() == 0 {
        return Ok(Column::sound(array.clone()));
    }
    let mut columns = Vec::with_capacity(array.num_columns());
    let mut fields = Vec::with_capacity(array.num_columns());
    for (field, column) in array.fields().iter().zip(array.columns()) {
        let Column { array: column, faults: found } = Column::of(column, budget)?;
        for (row, fault) in found.into_iter().filter(|(row, _)| array.is_valid(*row)) {
            faults.entry(row).or_insert_with(|| format!(".{}: {fault}", field.name()));
        }
        fields.push(Field::new(field.name(), column.data_type().clone(), true));
        columns.push(column);
    }
    let array = StructArray::try_new(fields.into(), columns, array.nulls().cloned()).map_err(wrong)?;
    Ok(Column { array: Arc::new(array), faults })
}

fn vectors(list: &FixedSizeListArray, budget: &mut Budget) -> Result<Column, Refusal> {
    let dimension = usize::try_from(list.value_length()).unwrap_or_default();
    let values = list.values().to_data();
    let mut faults = Faults::new();
    if let Some(nulls) = list.values().nulls().filter(|nulls| nulls.null_count() > 0) {
        for row in (0..list.len()).filter(|row| list.is_valid(*row)) {
            if let Some(at) = (0..dimension).find(|at| nulls.is_null(row * dimension + at)) {
                let fault = format!("[{at}]: a vector has no nulls");
                at_fault(1, &fault, budget)?;
                faults.insert(row, fault);
            }
        }
    }
    let values = match values.into_builder().nulls(None).build() {
        Ok(values) => make_array(values),
        Err(_) => list.values().clone(),
    };
    let field = element(list.value_type());
    let vectors =
        FixedSizeListArray::try_new_with_length(field, list.value_length(), values, list.nulls().cloned(), list.len());
    let array: ArrayRef = match vectors {
        Ok(vectors) => Arc::new(vectors),
        Err(_) => Arc::new(list.clone()),
    };
    Ok(Column { array, faults })
}

/// Dictionary values are looked up, which may make terabytes of a few: they are counted first.
fn dictionary(array: &ArrayRef, budget: &mut Budget) -> Result<Column, Refusal> {
    let dictionary = array.as_any_dictionary();
    let Column { array: values, faults } = Column::of(dictionary.values(), budget)?;
    if values.is_empty() {
        return Ok(Column { array: new_null_array(values.data_type(), array.len()), faults: Faults::new() });
    }
    // The keys, and where each of the values begins.
    budget.lend_rows(array.len(), 2 * size_of::<usize>())?;
    let keys = dictionary.normalized_keys();
    let valid = || keys.iter().enumerate().filter(|(row, _)| dictionary.keys().is_valid(*row));
    let width = |key: usize| -> u64 {
        (match values.data_type() {
            Arrow::Utf8 => values.as_string::<i32>().value_length(key) as usize,
            Arrow::Binary => values.as_binary::<i32>().value_length(key) as usize,
            _ => 0,
        }) as u64
    };
    budget.take_bytes(valid().map(|(_, key)| 8 + width(*key)).sum())?;
    let faults = if faults.is_empty() {
        faults
    } else {
        let found = || valid().filter_map(|(row, key)| Some((row, faults.get(key)?)));
        for (_, fault) in found() {
            at_fault(1, fault, budget)?;
        }
        found().map(|(row, fault)| (row, fault.clone())).collect()
    };
    Ok(Column { array: take(&values, dictionary.keys(), None).map_err(wrong)?, faults })
}

fn no_type(array: &ArrayRef, data_type: &Arrow, budget: &mut Budget) -> Result<Column, Refusal> {
    let fault = format!("no value has the Arrow type {}", crate::cut::cut(&data_type.to_string(), crate::cut::QUOTED));
    let nulls = array.logical_nulls();
    at_fault(array.len() - nulls.as_ref().map_or(0, NullBuffer::null_count), &fault, budget)?;
    let rows = (0..array.len()).filter(|row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row)));
    let faults = rows.map(|row| (row, fault.clone())).collect();
    Ok(Column { array: Arc::new(NullArray::new(array.len())), faults })
}
