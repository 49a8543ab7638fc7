//! The resolvers that ran for a result, in JSON.

use super::part::{Ignored, Part, Seen};
use super::reader::{Double, Enum, Integer, OwnedText, Reader, Text, unexpected};
use super::scan::{Fault, Object};
use crate::proto::writer::v1::{ResolverKind, ResolverRun, ResolverStatus};

/// One object among `resolver_runs`.
pub(super) struct Run<'r, 'de> {
    pub(super) reader: &'r Reader<'de>,
}

impl<'de> Part<'de> for Run<'_, 'de> {
    type Output = ResolverRun;

    fn wrong(self, found: &str) -> Result<ResolverRun, Fault> {
        Err(unexpected("resolver_runs", "runs as objects", found))
    }

    fn object(self, mut object: Object<'_, 'de>) -> Result<ResolverRun, Fault> {
        self.reader.take::<ResolverRun>()?;
        let mut run = ResolverRun::default();
        let mut seen = Seen::default();
        while let Some(key) = object.key()? {
            match &*key {
                "resolver" => {
                    seen.field(0, "resolver")?;
                    run.resolver = object.value(OwnedText(Text(self.reader, "resolver")))?;
                }
                "kind" => {
                    seen.field(1, "kind")?;
                    run.kind = object.value(kind())?;
                }
                "status" => {
                    seen.field(2, "status")?;
                    run.status = object.value(status())?;
                }
                "duration_seconds" | "durationSeconds" => {
                    seen.field(3, "duration_seconds")?;
                    run.duration_seconds = object.value(Double("duration_seconds"))?.unwrap_or_default();
                }
                "rows" => {
                    seen.field(4, "rows")?;
                    run.rows = object.value(Integer("rows"))?;
                }
                _ => {
                    seen.key(key)?;
                    object.value(Ignored)?;
                }
            }
        }
        Ok(run)
    }
}

fn kind() -> Enum<fn(i32) -> Option<&'static str>> {
    Enum {
        field: "kind",
        prefix: "RESOLVER_KIND_",
        name_of: |number| ResolverKind::try_from(number).ok().map(|kind| kind.as_str_name()),
    }
}

fn status() -> Enum<fn(i32) -> Option<&'static str>> {
    Enum {
        field: "status",
        prefix: "RESOLVER_STATUS_",
        name_of: |number| ResolverStatus::try_from(number).ok().map(|status| status.as_str_name()),
    }
}
