//! The filters of subscriptions that the fake honours, after the public filter language: `attributes:KEY`,
//! `attributes.KEY = "VALUE"` and `hasPrefix(attributes.KEY, "VALUE")`, each also with `NOT` before it, joined by `AND`.

use std::collections::HashMap;

/// Terms that all have to hold.
pub struct Filter(Vec<Term>);

struct Term {
    is_denied: bool,
    key: String,
    asks: Asks,
}

enum Asks {
    IsThere,
    Is(String),
    HasPrefix(String),
}

impl Filter {
    /// Panics where the fake does not know what a filter says: one that is half understood would test nothing.
    pub fn parse(text: &str) -> Self {
        Self(text.split(" AND ").map(|term| Term::parse(term.trim())).collect())
    }

    pub fn matches(&self, attributes: &HashMap<String, String>) -> bool {
        self.0.iter().all(|term| term.holds(attributes.get(&term.key).map(String::as_str)) != term.is_denied)
    }
}

impl Term {
    fn parse(text: &str) -> Self {
        let (is_denied, text) = text.strip_prefix("NOT ").map_or((false, text), |rest| (true, rest.trim()));
        let known = format!("the fake knows the filter `{text}`");
        let quoted = |value: &str| {
            let inner = value.trim().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            inner.expect(&known).to_owned()
        };
        let (key, asks) = if let Some(inner) = text.strip_prefix("hasPrefix(attributes.") {
            let (key, value) = inner.strip_suffix(')').and_then(|inner| inner.split_once(',')).expect(&known);
            (key, Asks::HasPrefix(quoted(value)))
        } else if let Some(key) = text.strip_prefix("attributes:") {
            (key, Asks::IsThere)
        } else {
            let equation = text.strip_prefix("attributes.").and_then(|inner| inner.split_once('='));
            let (key, value) = equation.expect(&known);
            (key, Asks::Is(quoted(value)))
        };
        Self { is_denied, key: key.trim().to_owned(), asks }
    }

    fn holds(&self, value: Option<&str>) -> bool {
        value.is_some_and(|value| match &self.asks {
            Asks::IsThere => true,
            Asks::Is(wanted) => value == wanted,
            Asks::HasPrefix(prefix) => value.starts_with(prefix),
        })
    }
}

#[test]
fn the_fake_filters_as_the_filter_language_says() {
    let attributes = HashMap::from([("env".to_owned(), "prod-eu".to_owned()), ("kind".to_owned(), "x".to_owned())]);
    for (filter, matches) in [
        (r#"attributes.kind = "x""#, true),
        (r#"attributes.kind="y""#, false),
        (r#"hasPrefix(attributes.env, "prod")"#, true),
        (r#"hasPrefix(attributes.kind, "prod")"#, false),
        (r#"hasPrefix(attributes.absent, "")"#, false),
        ("attributes:env", true),
        ("NOT attributes:env", false),
        (r#"attributes:kind AND NOT attributes.env = "dev""#, true),
        (r#"attributes:absent AND attributes.kind = "x""#, false),
    ] {
        assert_eq!(Filter::parse(filter).matches(&attributes), matches, "{filter}");
    }
}
