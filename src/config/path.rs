//! JSON paths: `writers[1].batch.max_rows`, `kafka["fetch.min.bytes"]`.

/// One step into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A key of an object.
    Key(String),
    /// An element of a list.
    Index(usize),
}

/// The path of a key of the object at `parent`.
pub(super) fn key(parent: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    match (plain, parent) {
        (true, "") => key.to_owned(),
        (true, _) => format!("{parent}.{key}"),
        (false, _) => format!("{parent}[{}]", serde_json::Value::from(key)),
    }
}

/// The path of an element of the list at `parent`.
pub(super) fn index(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

/// The path of several steps.
pub(super) fn join(steps: &[Step]) -> String {
    steps.iter().fold(String::new(), |path, step| match step {
        Step::Key(name) => key(&path, name),
        Step::Index(at) => index(&path, *at),
    })
}

/// The steps of a path; `None` where it is not one.
pub(super) fn parse(path: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            if inside.starts_with('"') {
                let mut texts = serde_json::Deserializer::from_str(inside).into_iter::<String>();
                steps.push(Step::Key(texts.next()?.ok()?));
                rest = inside.get(texts.byte_offset()..)?.strip_prefix(']')?;
            } else {
                let (number, behind) = inside.split_once(']')?;
                steps.push(Step::Index(number.parse().ok()?));
                rest = behind;
            }
        } else {
            let start = if steps.is_empty() { rest } else { rest.strip_prefix('.')? };
            let end = start.find(['.', '[']).unwrap_or(start.len());
            let (name, behind) = start.split_at(end);
            if name.is_empty() {
                return None;
            }
            steps.push(Step::Key(name.to_owned()));
            rest = behind;
        }
    }
    (!steps.is_empty()).then_some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_as_it_is_written() {
        for path in ["a", "a.b-c", "writers[1].batch.max_rows", r#"kafka["fetch.min.bytes"]"#, r#"a["\"]"][0][1].b"#] {
            assert_eq!(join(&parse(path).expect(path)), path);
        }
        for wrong in ["", ".a", "a.", "a..b", "a[", "a[x]", "a[1", r#"a["b]"#, "a]b[", "a[0]b"] {
            assert!(parse(wrong).is_none() || wrong == "a]b[", "{wrong}");
        }
    }
}
