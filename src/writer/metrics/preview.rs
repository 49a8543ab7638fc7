//! What a result would add to the series, for people.

use serde_json::Value as Json;

use crate::message::EventType;
use crate::row::contribution::{Contribution, Forward, Measure, Series, Tags};
use crate::value::time::format_timestamp;
use crate::writer::preview::{Shown, ShownRow};

impl Shown for Contribution {
    fn shown(&self) -> Vec<ShownRow> {
        let window = format_timestamp(super::windows::window(self.event_time));
        let metrics = self.partials.iter().map(|(series, measure)| metric(series, measure, &window));
        metrics.chain(self.forward.iter().flat_map(messages)).collect()
    }
}

/// A name of the metrics' enums without the words that all of them begin with.
fn short(name: &str) -> Json {
    let name = name.strip_prefix("METRICS1_PROTO_REPRESENTATION_").unwrap_or(name);
    name.split_once('_').map_or(name, |(_, name)| name).into()
}

fn metric(series: &Series, measure: &Measure, window: &str) -> ShownRow {
    let Series { namespace, name, source, resource_group, tags } = series;
    let Tags { status, cache, kind, context, null, form } = tags;
    let mut fields = vec![
        ("namespace", short(namespace.as_str_name())),
        ("metric_name", short(name.as_str_name())),
        ("source", Json::from(&**source)),
        ("window", Json::from(window)),
    ];
    let tags = [
        ("tag1", status.map(|tag| tag.as_str_name())),
        ("tag2", cache.map(|tag| tag.as_str_name())),
        ("tag3", kind.map(|tag| tag.as_str_name())),
        ("tag4", context.map(|tag| tag.as_str_name())),
        ("tag5", null.map(|tag| tag.as_str_name())),
        ("tag6", form.map(|tag| tag.as_str_name())),
    ];
    fields.extend(tags.into_iter().filter_map(|(tag, name)| Some((tag, short(name?)))));
    if let Some(group) = resource_group {
        fields.push(("resource_group", Json::from(&**group)));
    }
    match measure {
        Measure::Sum(sum) => {
            fields.push(("sum", i64::try_from(*sum).map_or_else(|_| sum.to_string().into(), Json::from)));
        }
        Measure::Values { values, nulls } => {
            fields.push(("values", values.iter().copied().map(Json::from).collect()));
            fields.push(("nulls", Json::from(*nulls)));
        }
    }
    other("metric", fields)
}

fn messages(forward: &Forward) -> Vec<ShownRow> {
    let message = |event_type: EventType, body: serde_json::Result<Json>| {
        let body = body.unwrap_or_else(|error| Json::from(format!("not shown: {error}")));
        other("message", vec![("type", Json::from(event_type.as_str())), ("body", body)])
    };
    match forward {
        Forward::Query(query) => vec![message(EventType::Query, serde_json::to_value(query))],
        Forward::QueryErrors(rows) => {
            rows.iter().map(|row| message(EventType::QueryError, serde_json::to_value(row))).collect()
        }
        Forward::ResolverErrors(rows) => {
            rows.iter().map(|row| message(EventType::ResolverError, serde_json::to_value(row))).collect()
        }
    }
}

fn other(what: &'static str, fields: Vec<(&'static str, Json)>) -> ShownRow {
    ShownRow::Other { what, fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() }
}
