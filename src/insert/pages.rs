//! The pages of a file, added up before one of them is unpacked.

use parquet::file::metadata::ParquetMetaData;

use super::{malformed, thrift, too_large};
use crate::sink::Refusal;

/// Refuses a file whose pages are not where its footer says, or hold more than `limit` bytes or values once
/// unpacked. The answer is how many bytes the dictionaries of one group of rows take at the most.
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
                if page.dictionary {
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
