//! Tables as messages name them: `table`, `schema.table` or `database.schema.table`.

use bytestring::ByteString;

use crate::row::load::Target;
use crate::sink::{ErrorClass, Refusal};

/// Letters of a name that are quoted at the most.
const MOST: usize = 100;

/// Reads a table's name. A name that holds a point stands in quotation marks, which are doubled inside: `"a.b"`.
pub(super) fn read(text: &str) -> Result<Target, Refusal> {
    let refused = || {
        let found: String = text.chars().take(MOST).collect();
        let message = format!("table: expected `table`, `schema.table` or `database.schema.table`, found `{found}`");
        Refusal::new(ErrorClass::Decode, message)
    };
    let mut names = names(text).ok_or_else(refused)?;
    let table = names.pop().ok_or_else(refused)?;
    let (schema, database) = (names.pop(), names.pop());
    if names.is_empty() { Ok(Target { database, schema, table }) } else { Err(refused()) }
}

fn names(text: &str) -> Option<Vec<ByteString>> {
    let (mut names, mut name, mut letters) = (Vec::new(), String::new(), text.chars().peekable());
    loop {
        if name.is_empty() && letters.next_if_eq(&'"').is_some() {
            loop {
                match letters.next()? {
                    '"' if letters.next_if_eq(&'"').is_some() => name.push('"'),
                    '"' => break,
                    letter => name.push(letter),
                }
            }
            if letters.peek().is_some_and(|next| *next != '.') {
                return None;
            }
        }
        match letters.next() {
            Some('.') | None if name.is_empty() => return None,
            Some('.') => names.push(std::mem::take(&mut name).into()),
            Some(letter) => name.push(letter),
            None => {
                names.push(name.into());
                return Some(names);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_to_three_parts_which_may_be_quoted() {
        let read = |text: &str| {
            let Target { database, schema, table } = read(text).ok()?;
            let part = |part: Option<ByteString>| part.map_or_else(|| "-".to_owned(), |part| part.to_string());
            Some(format!("{} {} {table}", part(database), part(schema)))
        };
        assert_eq!(read("user").as_deref(), Some("- - user"));
        assert_eq!(read("a.b").as_deref(), Some("- a b"));
        assert_eq!(read("d.a.b").as_deref(), Some("d a b"));
        assert_eq!(read(r#""a.b"."c""d""#).as_deref(), Some("- a.b c\"d"));
        for wrong in ["", ".", "a.", ".a", "a..b", "a.b.c.d", r#""a"#, r#""a"b"#, r#""""#] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
