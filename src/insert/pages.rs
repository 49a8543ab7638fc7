//! The pages of a file, added up before one of them is unpacked.

use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};

use super::{malformed, thrift, too_large};
use crate::sink::Refusal;

/// Refuses a file whose pages are not where its footer says, or hold more than `limit` bytes or values once
/// unpacked. The answer is how many bytes of one group of rows may be in a single row at the most, though they are in
/// the file once: those of dictionaries, and of pages of values that go on from the one before.
pub(super) fn check(body: &[u8], metadata: &ParquetMetaData, limit: usize) -> Result<usize, Refusal> {
    let (mut bytes, mut values) = (limit, limit);
    let mut largest = 0;
    let take = |left: &mut usize, taken: i64| -> Result<usize, Refusal> {
        let taken = usize::try_from(taken).map_err(|_| malformed(format_args!("a size of {taken}")))?;
        *left = left.checked_sub(taken).ok_or_else(|| too_large(limit))?;
        Ok(taken)
    };
    for group in metadata.row_groups() {
        let mut dictionaries = 0;
        take(&mut values, group.num_rows())?;
        for column in group.columns() {
            // Also a column of nulls alone has a value for each of its rows once it is read.
            take(&mut values, group.num_rows())?;
            let start = column.dictionary_page_offset().filter(|offset| *offset > 0);
            let start = start.map_or(column.data_page_offset(), |offset| offset.min(column.data_page_offset()));
            let place = usize::try_from(start).ok().zip(usize::try_from(column.compressed_size()).ok());
            let range = place.and_then(|(start, size)| Some(start..start.checked_add(size)?));
            let mut rest = range.and_then(|range| body.get(range)).ok_or_else(|| {
                let size = column.compressed_size();
                malformed(format_args!("a column of {size} bytes at byte {start} of {}", body.len()))
            })?;
            while !rest.is_empty() {
                let page = thrift::page(rest)?;
                let unpacked = take(&mut bytes, page.unpacked)?;
                take(&mut values, page.values)?;
                if page.dictionary || page.prefixes {
                    dictionaries += unpacked;
                }
                let packed = usize::try_from(page.packed).ok().and_then(|packed| packed.checked_add(page.size));
                rest = packed.and_then(|packed| rest.get(packed..)).ok_or_else(|| {
                    malformed(format_args!("a page of {} bytes, where {} are left", page.packed, rest.len()))
                })?;
            }
        }
        largest = largest.max(dictionaries);
    }
    Ok(largest)
}

/// Where a column of a group begins in its file, and how many bytes it has; `None` where that cannot be.
pub(super) fn place(column: &ColumnChunkMetaData) -> Option<(u64, u64)> {
    let data = column.data_page_offset();
    let start = column.dictionary_page_offset().filter(|offset| *offset > 0).map_or(data, |offset| offset.min(data));
    u64::try_from(start).ok().zip(u64::try_from(column.compressed_size()).ok())
}

/// How large the rows of a group are.
pub(super) struct Rows {
    /// Bytes of one, but for values of dictionaries.
    pub(super) one: usize,
    /// Columns that have a dictionary.
    pub(super) with_dictionary: Vec<usize>,
}

/// Adds up the pages of a group; refuses one of which less than a row takes more than `limit` bytes.
///
/// `bytes` are those of the group, which begin at byte `start` of its file.
pub(super) fn of_group(bytes: &[u8], start: u64, group: &RowGroupMetaData, limit: usize) -> Result<Rows, Refusal> {
    let size = |size: i64| usize::try_from(size).map_err(|_| malformed(format_args!("a size of {size}")));
    let rows = size(group.num_rows())?;
    // At once: a page and the dictionary of each column, unpacked, and the rows of a batch.
    let (mut held, mut one, mut with_dictionary) = (0_usize, 0_usize, Vec::new());
    for (at, column) in group.columns().iter().enumerate() {
        let place = place(column).and_then(|(from, length)| {
            let from = usize::try_from(from.checked_sub(start)?).ok()?;
            bytes.get(from..from.checked_add(usize::try_from(length).ok()?)?)
        });
        let mut rest = place.ok_or_else(|| malformed("a column that is not in its group"))?;
        let flat = column.column_descr().max_rep_level() == 0;
        let (mut dictionary, mut page, mut widest, mut unpacked, mut values) =
            (0_usize, 0_usize, 0_usize, 0_usize, 0_usize);
        while !rest.is_empty() {
            let header = thrift::page(rest)?;
            let (whole, count) = (size(header.unpacked)?, size(header.values)?);
            if header.dictionary {
                dictionary = dictionary.max(whole);
            } else {
                page = page.max(whole);
                unpacked = unpacked.saturating_add(whole);
                values = values.saturating_add(count);
                // A value that goes on from the one before may have all of the page.
                let most = if header.prefixes { whole } else { whole / count.max(1) };
                widest = widest.max(most);
            }
            let packed = usize::try_from(header.packed).ok().and_then(|packed| packed.checked_add(header.size));
            rest = packed.and_then(|packed| rest.get(packed..)).ok_or_else(|| {
                malformed(format_args!("a page of {} bytes, where {} are left", header.packed, rest.len()))
            })?;
        }
        held = held.saturating_add(page).saturating_add(dictionary);
        if dictionary > 0 {
            with_dictionary.push(at);
        }
        // A row of lists has as many values as it likes: how many bytes it takes is known on the average alone, and it
        // is counted as eight times that.
        let of_lists = |all: usize| (all / rows.max(1)).saturating_mul(8);
        let width = if flat { widest.max(8) } else { of_lists(unpacked.saturating_add(values.saturating_mul(8))) };
        one = one.saturating_add(width);
    }
    if held > limit {
        return Err(malformed(format_args!(
            "a page and a dictionary of each column take {held} bytes once unpacked; {limit} may be in memory at once \
             (`memory_limit`)"
        )));
    }
    Ok(Rows { one, with_dictionary })
}
