//! The errors of a result in JSON. As the query, they are written out rather than left to the generated mapping.

use super::part::{Ignored, Part, Seen};
use super::reader::{Enum, OptionalText, OwnedText, Reader, Text, unexpected};
use super::scan::{Fault, Object};
use crate::proto::common::v1::{ChalkError, ChalkException, ErrorCode, ErrorCodeCategory};

/// One object among `errors`.
pub(super) struct QueryError<'r, 'de> {
    pub(super) reader: &'r Reader<'de>,
}

impl<'de> Part<'de> for QueryError<'_, 'de> {
    type Output = ChalkError;

    fn wrong(self, found: &str) -> Result<ChalkError, Fault> {
        Err(unexpected("errors", "errors as objects", found))
    }

    fn object(self, mut object: Object<'_, 'de>) -> Result<ChalkError, Fault> {
        let Self { reader } = self;
        reader.take::<ChalkError>()?;
        let optional = |field| OptionalText(Text(reader, field));
        let mut error = ChalkError::default();
        let mut seen = Seen::default();
        while let Some(key) = object.key()? {
            match &*key {
                "code" => {
                    seen.field(0, "code")?;
                    error.code = object.value(code())?;
                }
                "category" => {
                    seen.field(1, "category")?;
                    error.category = object.value(category())?;
                }
                "message" => {
                    seen.field(2, "message")?;
                    error.message = object.value(OwnedText(Text(reader, "message")))?;
                }
                "display_primary_key" | "displayPrimaryKey" => {
                    seen.field(3, "display_primary_key")?;
                    error.display_primary_key = object.value(optional("display_primary_key"))?;
                }
                "display_primary_key_fqn" | "displayPrimaryKeyFqn" => {
                    seen.field(4, "display_primary_key_fqn")?;
                    error.display_primary_key_fqn = object.value(optional("display_primary_key_fqn"))?;
                }
                "exception" => {
                    seen.field(5, "exception")?;
                    error.exception = object.value(Exception { reader })?;
                }
                "feature" => {
                    seen.field(6, "feature")?;
                    error.feature = object.value(optional("feature"))?;
                }
                "resolver" => {
                    seen.field(7, "resolver")?;
                    error.resolver = object.value(optional("resolver"))?;
                }
                _ => {
                    seen.key(key)?;
                    object.value(Ignored)?;
                }
            }
        }
        Ok(error)
    }
}

fn code() -> Enum<fn(i32) -> Option<&'static str>> {
    Enum {
        field: "code",
        prefix: "ERROR_CODE_",
        name_of: |number| ErrorCode::try_from(number).ok().map(|code| code.as_str_name()),
    }
}

fn category() -> Enum<fn(i32) -> Option<&'static str>> {
    Enum {
        field: "category",
        prefix: "ERROR_CODE_CATEGORY_",
        name_of: |number| ErrorCodeCategory::try_from(number).ok().map(|category| category.as_str_name()),
    }
}

/// The exception behind an error.
struct Exception<'r, 'de> {
    reader: &'r Reader<'de>,
}

impl<'de> Part<'de> for Exception<'_, 'de> {
    type Output = Option<ChalkException>;

    fn wrong(self, found: &str) -> Result<Self::Output, Fault> {
        Err(unexpected("exception", "an object", found))
    }

    fn null(self) -> Result<Self::Output, Fault> {
        Ok(None)
    }

    fn object(self, mut object: Object<'_, 'de>) -> Result<Self::Output, Fault> {
        let text = |field| OwnedText(Text(self.reader, field));
        let mut exception = ChalkException::default();
        let mut seen = Seen::default();
        while let Some(key) = object.key()? {
            match &*key {
                "kind" => {
                    seen.field(0, "kind")?;
                    exception.kind = object.value(text("kind"))?;
                }
                "message" => {
                    seen.field(1, "message")?;
                    exception.message = object.value(text("message"))?;
                }
                "stacktrace" => {
                    seen.field(2, "stacktrace")?;
                    exception.stacktrace = object.value(text("stacktrace"))?;
                }
                "internal_stacktrace" | "internalStacktrace" => {
                    seen.field(3, "internal_stacktrace")?;
                    let text = OptionalText(Text(self.reader, "internal_stacktrace"));
                    exception.internal_stacktrace = object.value(text)?;
                }
                _ => {
                    seen.key(key)?;
                    object.value(Ignored)?;
                }
            }
        }
        Ok(Some(exception))
    }
}
