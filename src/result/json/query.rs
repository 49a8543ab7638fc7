//! The query of a result in JSON. Written out rather than left to the generated mapping, which takes
//! an enum's names with their prefix only, and keys twice.

use serde::de::{self, MapAccess, SeqAccess};

use super::part::{Ignored, Part, Seed, Seen, next_key, twice};
use super::reader::{Enum, Flag, Integer, Reader, Text, unexpected};
use crate::proto::pubsub::v1::{QueryMessagePubSub, QueryStatus};

/// The object `query`.
pub(super) struct Query<'r, 'de> {
    pub(super) reader: &'r Reader<'de>,
    pub(super) depth: usize,
}

impl<'de> Part<'de> for Query<'_, 'de> {
    type Output = Option<Box<QueryMessagePubSub>>;

    fn depth(&self) -> usize {
        self.depth
    }

    fn wrong<E: de::Error>(self, found: &str) -> Result<Self::Output, E> {
        Err(unexpected("query", "an object", found))
    }

    fn null<E: de::Error>(self) -> Result<Self::Output, E> {
        Ok(None)
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Output, A::Error> {
        let Self { reader, depth } = self;
        let inner = depth + 1;
        let mut query = Box::<QueryMessagePubSub>::default();
        let mut seen = Seen::default();
        while let Some(key) = next_key(&mut object)? {
            let Some(field) = FIELDS.iter().position(|(snake, camel)| *snake == key || *camel == key) else {
                seen.key(key)?;
                object.next_value_seed(Seed(Ignored(inner)))?;
                continue;
            };
            let name = FIELDS[field].0;
            seen.field(field as u32, name)?;
            let text = Seed(OptionalText(Text(reader, name, inner)));
            let list = Seed(Texts { reader, field: name, depth: inner });
            let flag = Seed(Flag(name, inner));
            match name {
                "operation_id" => query.operation_id = object.next_value_seed(text)?.unwrap_or_default(),
                "environment_id" => query.environment_id = object.next_value_seed(text)?.unwrap_or_default(),
                "query_meta" => {
                    object.next_value_seed(Seed(QueryMeta { reader, query: &mut query, depth: inner }))?;
                }
                "query_name" => query.query_name = object.next_value_seed(text)?,
                "query_name_version" => query.query_name_version = object.next_value_seed(text)?,
                "correlation_id" => query.correlation_id = object.next_value_seed(text)?,
                "input_features" => query.input_features = object.next_value_seed(list)?,
                "output_features" => query.output_features = object.next_value_seed(list)?,
                "output_root_fqns" => query.output_root_fqns = object.next_value_seed(list)?,
                "intermediate_features" => query.intermediate_features = object.next_value_seed(list)?,
                "resolvers" => query.resolvers = object.next_value_seed(list)?,
                "query_plan_id" => query.query_plan_id = object.next_value_seed(text)?,
                "created_at" => query.created_at = object.next_value_seed(Seed(Integer(name, inner)))?,
                "has_errors" => query.has_errors = object.next_value_seed(flag)?,
                "agent_id" => query.agent_id = object.next_value_seed(text)?,
                "branch_name" => query.branch_name = object.next_value_seed(text)?,
                "deployment_id" => query.deployment_id = object.next_value_seed(text)?,
                "has_plan_stages" => query.has_plan_stages = object.next_value_seed(flag)?,
                "meta_query_hash" => query.meta_query_hash = object.next_value_seed(text)?,
                "query_duration_seconds" => {
                    query.query_duration_seconds = object.next_value_seed(Seed(Seconds(name, inner)))?;
                }
                "trace_id" => query.trace_id = object.next_value_seed(text)?,
                "resource_group" => query.resource_group = object.next_value_seed(text)?,
                _ => query.status = Some(object.next_value_seed(Seed(status(inner)))?),
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

fn status(depth: usize) -> Enum<fn(&str) -> Option<i32>> {
    Enum {
        field: "status",
        prefix: "QUERY_STATUS_",
        by_name: |name| QueryStatus::from_str_name(name).map(i32::from),
        depth,
    }
}

/// A text that may be absent.
struct OptionalText<'r, 'de>(Text<'r, 'de>);

impl<'de> Part<'de> for OptionalText<'_, 'de> {
    type Output = Option<String>;

    fn depth(&self) -> usize {
        self.0.depth()
    }

    fn wrong<E: de::Error>(self, found: &str) -> Result<Self::Output, E> {
        self.0.wrong(found).map(|text| Some(text.to_string()))
    }

    fn null<E: de::Error>(self) -> Result<Self::Output, E> {
        Ok(None)
    }

    fn text<E: de::Error>(self, value: &str) -> Result<Self::Output, E> {
        Ok(Some(value.to_owned()))
    }
}

struct Texts<'r, 'de> {
    reader: &'r Reader<'de>,
    field: &'static str,
    depth: usize,
}

impl<'de> Part<'de> for Texts<'_, 'de> {
    type Output = Vec<String>;

    fn depth(&self) -> usize {
        self.depth
    }

    fn wrong<E: de::Error>(self, found: &str) -> Result<Vec<String>, E> {
        Err(unexpected(self.field, "a list of texts", found))
    }

    fn null<E: de::Error>(self) -> Result<Vec<String>, E> {
        Ok(Vec::new())
    }

    fn list<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = list.next_element_seed(Seed(Text(self.reader, self.field, self.depth + 1)))? {
            texts.push(text.to_string());
        }
        Ok(texts)
    }
}

/// The query's own map of texts.
struct QueryMeta<'r, 'de> {
    reader: &'r Reader<'de>,
    query: &'r mut QueryMessagePubSub,
    depth: usize,
}

impl<'de> Part<'de> for QueryMeta<'_, 'de> {
    type Output = ();

    fn depth(&self) -> usize {
        self.depth
    }

    fn wrong<E: de::Error>(self, found: &str) -> Result<(), E> {
        Err(unexpected("query_meta", "an object of texts", found))
    }

    fn null<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some(key) = next_key(&mut object)? {
            let text = object.next_value_seed(Seed(Text(self.reader, "query_meta", self.depth + 1)))?;
            if self.query.query_meta.insert(key.to_string(), text.to_string()).is_some() {
                return Err(twice(&key));
            }
        }
        Ok(())
    }
}

/// A duration as a number, or as text for those that JSON has no number for.
struct Seconds(&'static str, usize);

impl Part<'_> for Seconds {
    type Output = Option<f32>;

    fn depth(&self) -> usize {
        self.1
    }

    fn wrong<E: de::Error>(self, found: &str) -> Result<Option<f32>, E> {
        Err(unexpected(self.0, "a number", found))
    }

    fn null<E: de::Error>(self) -> Result<Option<f32>, E> {
        Ok(None)
    }

    fn int<E: de::Error>(self, value: i64) -> Result<Option<f32>, E> {
        Ok(Some(value as f32))
    }

    fn double<E: de::Error>(self, value: f64) -> Result<Option<f32>, E> {
        Ok(Some(value as f32))
    }

    fn text<E: de::Error>(self, value: &str) -> Result<Option<f32>, E> {
        value.parse().map(Some).or_else(|_| self.wrong("text"))
    }
}
