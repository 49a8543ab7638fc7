//! “Did you mean”: the nearest known name.

/// The known name that `given` most likely stands for; `None` where none is near.
pub(crate) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_ascii_lowercase();
    let allowed = (given.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&given, &name.to_ascii_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// A sentence with the nearest name, or else with all of them.
pub(crate) fn hint(given: &str, known: &[&str]) -> String {
    match nearest(given, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`? known are {}", known.join(", ")),
        None => format!("known are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_finds_its_name_and_another_word_none() {
        let known = ["ONLINE_WRITER", "OFFLINE_WRITER", "METRICS_WRITER"];
        assert_eq!(nearest("onlin_writer", known), Some("ONLINE_WRITER"));
        assert_eq!(nearest("METRIC_WRITER", known), Some("METRICS_WRITER"));
        assert_eq!(nearest("SOMETHING", known), None);
        assert_eq!(nearest("", known), None);
    }
}
