//! Errors with what is behind them: libraries say what they were doing, and hide why it failed in the sources of an error.

use std::error::Error;

/// What is behind an error, from the nearest cause to the first one.
pub(crate) fn causes<'a>(error: &'a (dyn Error + 'a)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

/// An error with what is behind it, in one line.
pub(crate) fn in_full(error: &dyn Error) -> String {
    and_causes(&error.to_string(), error)
}

/// What is said of an error, with what is behind it, in one line.
pub(crate) fn and_causes(said: &str, error: &dyn Error) -> String {
    causes(error).fold(one_line(said), |text, cause| {
        let more = one_line(&cause.to_string());
        // Some errors quote what is behind them.
        if text.contains(&more) { text } else { format!("{text}: {more}") }
    })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    #[test]
    fn each_cause_is_told_once_and_all_in_one_line() {
        let first = Layer { text: "connection\n  refused", source: None };
        let second = Layer { text: "no connection: connection refused", source: Some(Box::new(first)) };
        let error = Layer { text: "cannot ask", source: Some(Box::new(second)) };
        assert_eq!(in_full(&error), "cannot ask: no connection: connection refused");
        assert_eq!(and_causes("UNAVAILABLE", &error), "UNAVAILABLE: no connection: connection refused");
        assert_eq!(causes(&error).count(), 2);
    }
}
