//! The query of a result in JSON. Written out rather than left to the generated mapping, which takes
//! an enum's names with their prefix only, and keys twice.

use super::part::{Each, Ignored, Part, Seen, twice};
use super::reader::{Double, Enum, Flag, Integer, OptionalText, OwnedText, Reader, Text, unexpected};
use super::scan::{Fault, Object};
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
            let list = Each { field: name, of: || OwnedText(Text(reader, name)) };
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
                    query.query_duration_seconds = object.value(Double(name))?.map(|seconds| seconds as f32);
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
