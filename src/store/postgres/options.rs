//! Which settings the parameter `options` of a URI gives a session, as the server reads it.

/// Their names in small letters: of `-c name=value` and `--name=value`, where a backslash takes the next
/// character as it is and `-` in a name is `_`.
pub(super) fn names(options: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => words.last_mut().into_iter().for_each(|word| word.extend(characters.next())),
            _ if character.is_ascii_whitespace() => words.push(String::new()),
            _ => words.last_mut().into_iter().for_each(|word| word.push(character)),
        }
    }
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    let mut names = Vec::new();
    while let Some(word) = words.next() {
        let setting = match (word.strip_prefix("--"), word.strip_prefix("-c")) {
            (Some(long), _) => long.to_owned(),
            (None, Some("")) => words.next().unwrap_or_default(),
            (None, Some(rest)) => rest.to_owned(),
            (None, None) => continue,
        };
        let name = setting.split('=').next().unwrap_or_default();
        names.push(name.to_ascii_lowercase().replace('-', "_"));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_each_way_of_writing_them_and_never_in_values() {
        assert_eq!(names("-c lock_timeout=5s --work-mem=1MB -cJIT=off -O"), ["lock_timeout", "work_mem", "jit"]);
        assert_eq!(names(r"-c  a.b=x\ -c\ lock_timeout=1 -c c=\\ -c d=lock_timeout"), ["a.b", "c", "d"]);
        assert_eq!(names(""), Vec::<String>::new());
        assert_eq!(names("-c"), [""]);
    }
}
