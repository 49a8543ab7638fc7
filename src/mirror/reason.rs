//! Why a request came to nothing, for people.

/// What happened, down to its cause, without the URL.
pub(super) fn reason(error: &reqwest::Error) -> String {
    let mut text = match error {
        error if error.is_connect() => "no connection".to_owned(),
        error if error.is_builder() => "the request cannot be made".to_owned(),
        _ => "the connection broke".to_owned(),
    };
    let mut cause = std::error::Error::source(error);
    let mut last = None;
    while let Some(error) = cause {
        last = Some(error);
        cause = error.source();
    }
    if let Some(last) = last {
        text.push_str(": ");
        text.push_str(&last.to_string());
    }
    text
}
