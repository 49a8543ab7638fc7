//! JSON that somebody else reads: refused beforehand for what that reader would let pass.

use super::part::Ignored;
use super::scan::Scanner;
use super::{not_utf8, refusal};
use crate::result::sniff::without_mark;
use crate::sink::Refusal;

/// The text of a JSON body that is one sound value of unique keys, not nested deeper than a result may be.
///
/// General readers take the last of two equal keys, or merge them, and bound the depth otherwise.
pub fn checked(body: &[u8]) -> Result<&str, Refusal> {
    let body = without_mark(body);
    let text = std::str::from_utf8(body).map_err(|_| not_utf8(body))?;
    Scanner::new(text).read(Ignored).map_err(|fault| refusal(text, fault))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::DEEPEST;

    fn refused(body: &[u8]) -> String {
        checked(body).expect_err("refused").to_string()
    }

    #[test]
    fn what_is_sound_is_given_back_without_its_mark() {
        assert_eq!(checked(b"\xef\xbb\xbf {\"a\": [1, {\"a\": null}]} "), Ok(" {\"a\": [1, {\"a\": null}]} "));
    }

    #[test]
    fn equal_keys_too_deep_a_nesting_and_broken_text_are_refused_with_their_place() {
        assert_eq!(
            refused(br#"{"a": {"b": 1, "b": 1}}"#),
            "DECODE: JSON: key `b` stands twice in one object at line 1, column 19 (byte 19)"
        );
        let deep = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(checked(&deep(DEEPEST)).is_ok());
        assert!(refused(&deep(DEEPEST + 1)).contains("nested deeper than 64"));
        assert!(refused(b"{\"a\": \xff}").contains("not UTF-8 at byte 6"));
        assert!(refused(b"{\"a\": 1} x").contains("trailing characters"));
    }
}
