//! Where a text in JSON ends, or has something in it that does not stand for itself.

/// How many bytes come before the first quote, backslash or control character.
// Most texts are short, and are read where they stand in the code; of long ones it matters what a byte takes.
#[inline]
pub(super) fn plain(bytes: &[u8]) -> usize {
    const SHORT: usize = 16;
    let mut at = 0;
    while at < SHORT {
        let Some(eight) = bytes[at..].first_chunk() else { return at + plain_to_the_end(&bytes[at..]) };
        if let Some(found) = first_special(*eight) {
            return at + found;
        }
        at += 8;
    }
    at + plain_of_many(&bytes[at..])
}

/// The same of a long text.
#[inline(never)]
fn plain_of_many(bytes: &[u8]) -> usize {
    let mut at = 0;
    // Whether there is any at all is asked of many bytes at once, by instructions that the compiler knows.
    let any = |many: &[u8; 32]| many.iter().fold(0, |any, byte| any | u8::from(is_special(*byte))) != 0;
    while let Some(many) = bytes[at..].first_chunk()
        && !any(many)
    {
        at += many.len();
    }
    while let Some(eight) = bytes[at..].first_chunk() {
        if let Some(found) = first_special(*eight) {
            return at + found;
        }
        at += eight.len();
    }
    at + plain_to_the_end(&bytes[at..])
}

fn plain_to_the_end(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| is_special(*byte)).unwrap_or(bytes.len())
}

/// Whether a byte does not stand for itself in a text.
#[inline]
const fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Where the first such byte is among eight.
#[inline]
const fn first_special(eight: [u8; 8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    /// The high bit of each byte that is zero, and maybe those of bytes behind the first one.
    const fn zero(bytes: u64) -> u64 {
        bytes.wrapping_sub(ONES) & !bytes
    }
    let eight = u64::from_le_bytes(eight);
    // The high bit of a byte is set where subtracting borrows, so where it was too small.
    let found = (eight.wrapping_sub(ONES * 0x20) & !eight
        | zero(eight ^ (ONES * b'"' as u64))
        | zero(eight ^ (ONES * b'\\' as u64)))
        & HIGH;
    // A borrow may also set bits of bytes behind the first one; that one is always right.
    if found == 0 { None } else { Some(found.trailing_zeros() as usize / 8) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_any_length_ends_at_the_first_byte_that_is_special() {
        for length in 0..150 {
            let text = vec![b'a'; length];
            assert_eq!(plain(&text), length);
            for special in [b'"', b'\\', 0x1f] {
                for at in 0..length {
                    let mut text = text.clone();
                    (text[at], text[length - 1]) = (special, special);
                    assert_eq!(plain(&text), at, "of {length}");
                }
            }
        }
        // What only looks special where eight bytes are one number.
        let alike = [0x20, 0x21, 0x23, 0x5b, 0x5d, 0x7f, 0x80, 0xa2, 0xdc, 0xff].repeat(20);
        assert_eq!(plain(&alike), alike.len());
    }
}
