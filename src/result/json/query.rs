//! The query of a result in JSON. Written out rather than left to the generated mapping, which takes
//! an enum's names with their prefix only, and keys twice.

use super::part::{Ignored, Part, Seen, twice};
use super::reader::{Enum, Flag, Integer, Reader, Text, unexpected};
use super::scan::{Fault, List, Object};
use crate::proto::pubsub::v1::{QueryMessagePubSub, QueryStatus};

/// The object `query`.
pub(super) struct Query<'r, 'de> {
    pub(super) reader: &'r Reader<'de>,
}

impl<'de> Part<'de> for Query<'_, 'de> {
    type Output = Option<Box<QueryMessagePubSub>>;

    fn wrong(self, found: &str) -> Result<Self::Output, Fault> {
        Err(unexpected("query", "an object", found))
    }

    fn null(self) -> Result<Self::Output, Fault> {
        Ok(None)
    }

    fn object(self, mut object: Object<'_, 'de>) -> Result<Self::Output, Fault> {
        let Self { reader } = self;
        let mut query = Box::<QueryMessagePubSub>::default();
        let mut seen = Seen::default();
        while let Some(key) = object.key()? {
            let Some(field) = FIELDS.iter().position(|(snake, camel)| *snake == key || *camel == key) else {
                seen.key(key)?;
                object.value(Ignored)?;
                continue;
            };
            let name = FIELDS[field].0;
            seen.field(field as u32, name)?;
            let text = OptionalText(Text(reader, name));
            let list = Texts { reader, field: name };
            let flag = Flag(name);
            match name {
                "operation_id" => query.operation_id = object.value(text)?.unwrap_or_default(),
                "environment_id" => query.environment_id = object.value(text)?.unwrap_or_default(),
                "query_meta" => {
                    object.value(QueryMeta { reader, query: &mut query })?;
                }
                "query_name" => query.query_name = object.value(text)?,
                "query_name_version" => query.query_name_version = object.value(text)?,
                "correlation_id" => query.correlation_id = object.value(text)?,
                "input_features" => query.input_features = object.value(list)?,
                "output_features" => query.output_features = object.value(list)?,
                "output_root_fqns" => query.output_root_fqns = object.value(list)?,
                "intermediate_features" => query.intermediate_features = object.value(list)?,
                "resolvers" => query.resolvers = object.value(list)?,
                "query_plan_id" => query.query_plan_id = object.value(text)?,
                "created_at" => query.created_at = object.value(Integer(name))?,
                "has_errors" => query.has_errors = object.value(flag)?,
                "agent_id" => query.agent_id = object.value(text)?,
                "branch_name" => query.branch_name = object.value(text)?,
                "deployment_id" => query.deployment_id = object.value(text)?,
                "has_plan_stages" => query.has_plan_stages = object.value(flag)?,
                "meta_query_hash" => query.meta_query_hash = object.value(text)?,
                "query_duration_seconds" => {
                    query.query_duration_seconds = object.value(Seconds(name))?;
                }
                "trace_id" => query.trace_id = object.value(text)?,
                "resource_group" => query.resource_group = object.value(text)?,
                _ => query.status = Some(object.value(status())?),
            }
        }
        Ok(Some(query))
    }
}

/// Both spellings of every field.
const FIELDS: [(&str, &str); 23] = [
    ("operation_id", "operationId"),
    ("environment_id", "environmentId"),
    ("query_meta", "queryMeta"),
    ("query_name", "queryName"),
    ("query_name_version", "queryNameVersion"),
    ("correlation_id", "correlationId"),
    ("input_features", "inputFeatures"),
    ("output_features", "outputFeatures"),
    ("output_root_fqns", "outputRootFqns"),
    ("intermediate_features", "intermediateFeatures"),
    ("resolvers", "resolvers"),
    ("query_plan_id", "queryPlanId"),
    ("created_at", "createdAt"),
    ("has_errors", "hasErrors"),
    ("agent_id", "agentId"),
    ("branch_name", "branchName"),
    ("deployment_id", "deploymentId"),
    ("has_plan_stages", "hasPlanStages"),
    ("meta_query_hash", "metaQueryHash"),
    ("query_duration_seconds", "queryDurationSeconds"),
    ("trace_id", "traceId"),
    ("resource_group", "resourceGroup"),
    ("status", "status"),
];

fn status() -> Enum<fn(i32) -> Option<&'static str>> {
    Enum {
        field: "status",
        prefix: "QUERY_STATUS_",
        name_of: |number| QueryStatus::try_from(number).ok().map(|status| status.as_str_name()),
    }
}

/// A text that may be absent.
struct OptionalText<'r, 'de>(Text<'r, 'de>);

impl<'de> Part<'de> for OptionalText<'_, 'de> {
    type Output = Option<String>;

    fn wrong(self, found: &str) -> Result<Self::Output, Fault> {
        self.0.wrong(found).map(|text| Some(text.to_string()))
    }

    fn null(self) -> Result<Self::Output, Fault> {
        Ok(None)
    }

    fn text(self, value: &str) -> Result<Self::Output, Fault> {
        Ok(Some(value.to_owned()))
    }
}

struct Texts<'r, 'de> {
    reader: &'r Reader<'de>,
    field: &'static str,
}

impl<'de> Part<'de> for Texts<'_, 'de> {
    type Output = Vec<String>;

    fn wrong(self, found: &str) -> Result<Vec<String>, Fault> {
        Err(unexpected(self.field, "a list of texts", found))
    }

    fn null(self) -> Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }

    fn list(self, mut list: List<'_, 'de>) -> Result<Vec<String>, Fault> {
        let mut texts = Vec::new();
        while let Some(text) = list.next(Text(self.reader, self.field))? {
            texts.push(text.to_string());
        }
        Ok(texts)
    }
}

/// The query's own map of texts.
struct QueryMeta<'r, 'de> {
    reader: &'r Reader<'de>,
    query: &'r mut QueryMessagePubSub,
}

impl<'de> Part<'de> for QueryMeta<'_, 'de> {
    type Output = ();

    fn wrong(self, found: &str) -> Result<(), Fault> {
        Err(unexpected("query_meta", "an object of texts", found))
    }

    fn null(self) -> Result<(), Fault> {
        Ok(())
    }

    fn object(self, mut object: Object<'_, 'de>) -> Result<(), Fault> {
        while let Some(key) = object.key()? {
            let text = object.value(Text(self.reader, "query_meta"))?;
            if self.query.query_meta.insert(key.to_string(), text.to_string()).is_some() {
                return Err(twice(&key));
            }
        }
        Ok(())
    }
}

/// A duration as a number, or as text for those that JSON has no number for.
struct Seconds(&'static str);

impl<'de> Part<'de> for Seconds {
    type Output = Option<f32>;

    fn wrong(self, found: &str) -> Result<Option<f32>, Fault> {
        Err(unexpected(self.0, "a number", found))
    }

    fn null(self) -> Result<Option<f32>, Fault> {
        Ok(None)
    }

    fn int(self, value: i64) -> Result<Option<f32>, Fault> {
        Ok(Some(value as f32))
    }

    fn big(self, digits: &'de str) -> Result<Option<f32>, Fault> {
        self.text(digits)
    }

    fn double(self, value: f64) -> Result<Option<f32>, Fault> {
        Ok(Some(value as f32))
    }

    fn text(self, value: &str) -> Result<Option<f32>, Fault> {
        value.parse().map(Some).or_else(|_| self.wrong("text"))
    }
}
