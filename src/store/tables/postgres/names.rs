//! Names of tables and columns as the server keeps them: whole, and in nobody's way.

use std::borrow::Cow;

use xxhash_rust::xxh3::xxh3_64;

use crate::store::postgres::LONGEST_NAME;

/// Columns that every table of the server has already.
const OF_THE_SERVER: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// The name of a table; `None` where it cannot be one.
pub(super) fn table(name: &str) -> Option<Cow<'_, str>> {
    (!name.is_empty() && !name.contains('\0')).then(|| whole(name))
}

/// The name of a column; `None` where it cannot be one.
///
/// A column that would be called as one of the server's own gets one `_` more, and so does what that makes.
pub(super) fn column(name: &str) -> Option<Cow<'_, str>> {
    if name.is_empty() || name.contains('\0') {
        return None;
    }
    if OF_THE_SERVER.contains(&name.trim_end_matches('_')) {
        return Some(Cow::Owned(format!("{name}_")));
    }
    Some(whole(name))
}

/// A name that the server would cut, cut so that no two become one: its first bytes, `_`, and the XXH3
/// hash (64 bits, 16 hexadecimal digits) of all of it.
fn whole(name: &str) -> Cow<'_, str> {
    const DIGITS: usize = 16;
    if name.len() <= LONGEST_NAME {
        return Cow::Borrowed(name);
    }
    let kept = &name[..name.floor_char_boundary(LONGEST_NAME - DIGITS - 1)];
    Cow::Owned(format!("{kept}_{:016x}", xxh3_64(name.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_by_us_and_stays_one_of_its_own() {
        let long = |end: &str| format!("{}{end}", "é".repeat(40));
        let (one, two) = (long("1"), long("2"));
        assert_eq!(
            column(&one).as_deref(),
            Some(format!("{}_{:016x}", "é".repeat(23), xxh3_64(one.as_bytes())).as_str())
        );
        assert_ne!(column(&one), column(&two));
        assert!(column(&one).is_some_and(|name| name.len() <= LONGEST_NAME));
        assert_eq!(column(&"x".repeat(63)).as_deref(), Some("x".repeat(63).as_str()));
    }

    #[test]
    fn names_of_the_server_are_stepped_around() {
        assert_eq!(column("ctid").as_deref(), Some("ctid_"));
        assert_eq!(column("ctid_").as_deref(), Some("ctid__"));
        assert_eq!(column("Ctid").as_deref(), Some("Ctid"));
        assert_eq!(column("oid").as_deref(), Some("oid"));
        assert_eq!((column(""), table("a\0")), (None, None));
    }
}
