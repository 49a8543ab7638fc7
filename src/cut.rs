//! Text of others in a message of ours: no longer than there is room for.

use std::borrow::Cow;

/// What is quoted of a value that is at fault, in bytes: enough to find it again.
pub(crate) const QUOTED: usize = 40;

/// A text of at most so many bytes; a longer one ends in `…`.
pub(crate) fn cut(text: &str, longest: usize) -> Cow<'_, str> {
    if text.len() <= longest {
        return Cow::Borrowed(text);
    }
    let kept = &text[..text.floor_char_boundary(longest.saturating_sub('…'.len_utf8()))];
    Cow::Owned(format!("{kept}…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_ends_in_an_ellipsis_and_never_inside_a_letter() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abc…");
        assert_eq!(cut("üüüü", 7), "üü…");
        assert_eq!(cut("üüüü", 0), "…");
    }
}
