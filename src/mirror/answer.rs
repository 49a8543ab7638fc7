//! What a server answered, in either form, as outputs and errors; and what was recorded of the first answer.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::compare::Outputs;
use super::feather;
use super::object::Object;
use crate::proto::common::v1::{ChalkError, ChalkException, ErrorCode, ErrorCodeCategory};

/// Outputs and errors of a query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Outputs by name.
    pub outputs: Outputs,
    /// Errors, in the order of the answer.
    pub errors: Vec<ChalkError>,
}

/// In which form a query is asked, and so answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One entity, as JSON.
    Json,
    /// Many rows, as tables.
    Feather,
}

impl Answer {
    /// Reads the body of an answer; the tables in it may take so many bytes. An error names what is wrong.
    pub(super) fn read(form: Form, body: &Bytes, limit: usize) -> Result<Self, String> {
        match form {
            Form::Json => json(body),
            Form::Feather => {
                let (outputs, texts) = feather::answer(body, limit)?;
                let errors = texts.iter().map(|text| serde_json::from_str::<ApiError>(text).map(ApiError::into));
                let errors = errors.collect::<Result<_, _>>().map_err(|error| format!("errors: {error}"))?;
                Ok(Self { outputs, errors })
            }
        }
    }
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    errors: Option<Vec<ApiError>>,
}

fn json(body: &Bytes) -> Result<Answer, String> {
    let Body { data, errors } = serde_json::from_slice(body).map_err(|error| format!("not an answer: {error}"))?;
    let mut errors: Vec<ChalkError> = errors.unwrap_or_default().into_iter().map(ApiError::into).collect();
    let mut outputs = Outputs::new();
    if let Some(data) = data.filter(|data| data.get() != "null") {
        for Cell { field, value, error } in cells(data.get())? {
            errors.extend(error.map(ApiError::into));
            outputs.insert(field, value.map_or_else(|| "null".to_owned(), |value| value.get().to_owned()));
        }
    }
    Ok(Answer { outputs, errors })
}

/// One output as the API has it.
#[derive(Deserialize)]
struct Cell {
    field: String,
    #[serde(default)]
    value: Option<Box<RawValue>>,
    #[serde(default)]
    error: Option<ApiError>,
}

fn cells(text: &str) -> Result<Vec<Cell>, String> {
    serde_json::from_str(text).map_err(|error| format!("data: {error}"))
}

/// The outputs of a recorded answer: an object by name, the list that the API answers with, or that whole answer.
pub fn recorded(text: &str) -> Result<Outputs, String> {
    if text.trim_start().starts_with('[') {
        let text_of =
            |value: Option<Box<RawValue>>| value.map_or_else(|| "null".to_owned(), |value| value.get().to_owned());
        return Ok(cells(text)?.into_iter().map(|cell| (cell.field, text_of(cell.value))).collect());
    }
    let object = Object::from_text(text).map_err(|error| error.to_string())?;
    if let Some(data) = object.get("data").filter(|data| data.starts_with('['))
        && let Ok(outputs) = recorded(data)
    {
        return Ok(outputs);
    }
    Ok(object.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// An error as the API has it: names of codes without their prefix.
#[derive(Deserialize)]
struct ApiError {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    category: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    display_primary_key: Option<String>,
    #[serde(default)]
    display_primary_key_fqn: Option<String>,
    #[serde(default)]
    exception: Option<ApiException>,
    #[serde(default)]
    feature: Option<String>,
    #[serde(default)]
    resolver: Option<String>,
}

#[derive(Deserialize)]
struct ApiException {
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    stacktrace: Option<String>,
    #[serde(default)]
    internal_stacktrace: Option<String>,
}

impl From<ApiError> for ChalkError {
    fn from(error: ApiError) -> Self {
        let code = error.code.and_then(|name| known("ERROR_CODE_", &name, ErrorCode::from_str_name));
        let category =
            error.category.and_then(|name| known("ERROR_CODE_CATEGORY_", &name, ErrorCodeCategory::from_str_name));
        Self {
            code: code.unwrap_or_default().into(),
            category: category.unwrap_or_default().into(),
            message: error.message.unwrap_or_default(),
            display_primary_key: error.display_primary_key,
            display_primary_key_fqn: error.display_primary_key_fqn,
            exception: error.exception.map(|exception| ChalkException {
                kind: exception.kind.unwrap_or_default(),
                message: exception.message.unwrap_or_default(),
                stacktrace: exception.stacktrace.unwrap_or_default(),
                internal_stacktrace: exception.internal_stacktrace,
            }),
            feature: error.feature,
            resolver: error.resolver,
        }
    }
}

/// An enum's value by its name, with or without prefix; 0 stands for names of later versions.
fn known<E>(prefix: &str, name: &str, find: fn(&str) -> Option<E>) -> Option<E> {
    let bare = name.strip_prefix(prefix).unwrap_or(name);
    find(&format!("{prefix}{bare}")).or_else(|| find(&format!("{prefix}{bare}_UNSPECIFIED")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Answer, String> {
        Answer::read(Form::Json, &Bytes::copy_from_slice(body.as_bytes()), 1 << 20)
    }

    #[test]
    fn an_answer_of_the_api_is_read() {
        let answer = read(
            r#"{"data": [{"field": "user.score", "value": 12345678901234567890123, "ts": "2026-11-22T18:32:00Z"},
                         {"field": "user.name", "value": null, "error": {"code": "RESOLVER_FAILED", "category": "FIELD",
                          "message": "no", "feature": "user.name", "exception": {"kind": "ValueError", "message": "bad"}}}],
                "errors": [{"code": "INTERNAL_SERVER_ERROR", "message": "late"}], "meta": {"query_id": "q"}}"#,
        )
        .expect("an answer");
        assert_eq!(answer.outputs["user.score"], "12345678901234567890123");
        assert_eq!(answer.outputs["user.name"], "null");
        let codes: Vec<_> = answer.errors.iter().map(|error| (error.code(), error.category())).collect();
        assert_eq!(
            codes,
            [
                (ErrorCode::InternalServerErrorUnspecified, ErrorCodeCategory::NetworkUnspecified),
                (ErrorCode::ResolverFailed, ErrorCodeCategory::Field)
            ]
        );
        assert_eq!(answer.errors[1].exception.as_ref().map(|exception| exception.kind.as_str()), Some("ValueError"));
    }

    #[test]
    fn an_answer_without_data_is_one_and_what_is_no_answer_says_so() {
        assert_eq!(read(r#"{"errors": null, "detail": "gone"}"#), Ok(Answer::default()));
        assert!(read("<html>").expect_err("no JSON").starts_with("not an answer: "));
        assert!(read(r#"{"data": [1]}"#).expect_err("no outputs").starts_with("data: "));
    }

    #[test]
    fn what_was_recorded_is_read_in_each_of_its_forms() {
        let expected =
            Outputs::from([("user.score".to_owned(), "0.50".to_owned()), ("user.name".to_owned(), "null".to_owned())]);
        for text in [
            r#"{"user.score": 0.50, "user.name": null}"#,
            r#"[{"field": "user.score", "value": 0.50}, {"field": "user.name"}]"#,
            r#"{"data": [{"field": "user.score", "value": 0.50}, {"field": "user.name"}], "meta": {}}"#,
        ] {
            assert_eq!(recorded(text).as_ref(), Ok(&expected), "{text}");
        }
        assert!(recorded("0.5").is_err());
    }
}
