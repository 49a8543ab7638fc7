//! Queries of many rows as Chalk's clients ask them: a table of inputs, and tables of outputs in the answer.
//!
//! ```text
//! chal1
//! u64 length, JSON object    the request without its inputs
//! u64 length, Arrow IPC file one column an input
//! ```
//!
//! Lengths are eight bytes, the highest first. The answer is a [frame](super::transmit) with a frame for each
//! query; ours has one.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use bytes::Bytes;

use super::compare::Outputs;
use super::object::Object;
use super::transmit::Frame;
use crate::result::arrow::Budget;
use crate::result::arrow::encode::{self, Form};
use crate::result::arrow::values;
use crate::value::Value;
use crate::value::json;

const MAGIC: &[u8] = b"chal1";

/// A request as a body of that form. An error, as a sentence, where its inputs are no table.
pub(super) fn body(request: Object) -> Result<Vec<u8>, String> {
    let table = table(&request)?;
    let header = request.without("inputs").to_text();
    let mut body = Vec::with_capacity(MAGIC.len() + 16 + header.len() + table.len());
    body.extend_from_slice(MAGIC);
    for part in [header.as_bytes(), &table] {
        body.extend_from_slice(&(part.len() as u64).to_be_bytes());
        body.extend_from_slice(part);
    }
    Ok(body)
}

fn table(request: &Object) -> Result<Vec<u8>, String> {
    let inputs = request.get("inputs").ok_or("it has no inputs")?;
    let inputs = Object::from_text(inputs).map_err(|error| format!("its inputs are no object: {error}"))?;
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    let mut rows = None;
    for (name, text) in inputs.iter() {
        let Ok(Value::List(values)) = json::from_text(text) else {
            return Err(format!("input `{name}` is no list, one value a row"));
        };
        if *rows.get_or_insert(values.len()) != values.len() {
            return Err(format!("input `{name}` has {} values, others another number", values.len()));
        }
        if values.iter().any(is_too_large) {
            return Err(format!("input `{name}` has an integer beyond 64 bits"));
        }
        let array = encode::column(name, values)?;
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    if arrays.is_empty() {
        return Err("it has no inputs".to_owned());
    }
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|error| error.to_string())?;
    encode::ipc(&batch, BTreeMap::new(), Form::File).map_err(|error| error.to_string())
}

/// Whether a number was an integer that a double does not keep.
fn is_too_large(value: &Value) -> bool {
    match value {
        Value::Double(number) => number.fract() == 0.0 && number.abs() >= 9_223_372_036_854_775_807.0,
        Value::List(items) => items.iter().any(is_too_large),
        Value::Struct(fields) => fields.iter().any(|(_, value)| is_too_large(value)),
        _ => false,
    }
}

/// The answer of one query: outputs as lists with a value for each row, those that are tables themselves as lists
/// of objects; and the JSON texts of errors.
pub(super) fn answer(body: &Bytes, limit: usize) -> Result<(Outputs, Vec<String>), String> {
    let outer = Frame::read(body)?;
    let results = named(&outer.frames, "query_results_bytes").ok_or("no part `query_results_bytes`")?;
    let results = Frame::read(results).map_err(|error| format!("query_results_bytes: {error}"))?;
    let [(_, one)] = results.bytes.as_slice() else {
        return Err(format!("{} queries are answered, one was asked", results.bytes.len()));
    };
    let one = Frame::read(one)?;
    let errors = match one.attributes.get("errors") {
        Some(text) => serde_json::from_str(text).map_err(|error| format!("errors: {error}"))?,
        None => Vec::new(),
    };
    let mut outputs = Outputs::new();
    let mut budget = Budget::new(limit);
    if one.attributes.get("has_data") == Some("false") {
        return Ok((outputs, errors));
    }
    if let Some(scalars) = named(&one.bytes, "scalar_data").filter(|scalars| !scalars.is_empty()) {
        for (name, column) in values(scalars, &mut budget).map_err(|refusal| refusal.message)? {
            outputs.insert(name.to_string(), json::to_text(&Value::List(column)));
        }
    }
    if let Some(groups) = named(&one.frames, "groups_data") {
        for (name, table) in Frame::read(groups).map_err(|error| format!("groups_data: {error}"))?.bytes {
            let columns = values(&table, &mut budget).map_err(|refusal| format!("{name}: {}", refusal.message))?;
            outputs.insert(name, json::to_text(&Value::List(rows(columns))));
        }
    }
    Ok((outputs, errors))
}

/// A table as the rows of it.
fn rows(columns: Vec<(bytestring::ByteString, Vec<Value>)>) -> Vec<Value> {
    let count = columns.first().map_or(0, |(_, values)| values.len());
    let mut rows: Vec<Vec<_>> = std::iter::repeat_with(Vec::new).take(count).collect();
    for (name, values) in columns {
        for (row, value) in rows.iter_mut().zip(values) {
            row.push((name.clone(), value));
        }
    }
    rows.into_iter().map(Value::Struct).collect()
}

fn named<'a>(parts: &'a [(String, Bytes)], name: &str) -> Option<&'a Bytes> {
    parts.iter().find(|(known, _)| known == name).map(|(_, part)| part)
}

#[cfg(test)]
mod tests {
    use super::super::transmit::tests::frame;
    use super::*;

    fn parts(body: &[u8]) -> (String, Vec<(bytestring::ByteString, Vec<Value>)>) {
        assert_eq!(&body[..5], b"chal1");
        let length = |at: usize| u64::from_be_bytes(body[at..at + 8].try_into().expect("eight")) as usize;
        let header = length(5);
        let table = &body[13 + header + 8..];
        assert_eq!(length(13 + header), table.len());
        assert!(table.starts_with(b"ARROW1") && table.ends_with(b"ARROW1"), "a file, with its footer");
        let text = String::from_utf8(body[13..13 + header].to_vec()).expect("UTF-8");
        (text, values(&table.to_vec().into(), &mut Budget::new(1 << 20)).expect("a table"))
    }

    #[test]
    fn lists_of_inputs_are_a_table_and_the_rest_is_the_header() {
        let request = r#"{"inputs":{"user.id":[1,2],"user.vector":[[1.5],null]},"outputs":["user.score"]}"#;
        let body = body(Object::from_text(request).expect("an object")).expect("a table");
        let (header, table) = parts(&body);
        assert_eq!(header, r#"{"outputs":["user.score"]}"#);
        assert_eq!(
            table,
            [
                ("user.id".into(), vec![Value::Int(1), Value::Int(2)]),
                ("user.vector".into(), vec![Value::List(vec![Value::Double(1.5)]), Value::Null]),
            ]
        );
    }

    #[test]
    fn inputs_that_are_no_table_say_why() {
        for (inputs, why) in [
            (r#"{"user.id":1}"#, "input `user.id` is no list"),
            (r#"{"a":[1],"b":[1,2]}"#, "input `b` has 2 values"),
            (r#"{"a":[1,"x"]}"#, "column `a`: values without a common type"),
            (r#"{"a":[18446744073709551615]}"#, "an integer beyond 64 bits"),
            ("{}", "it has no inputs"),
            ("null", "it has no inputs"),
        ] {
            let request = Object::from_text(&format!(r#"{{"inputs":{inputs}}}"#)).expect("an object");
            let error = body(request).expect_err(inputs);
            assert!(error.contains(why), "{error}");
        }
    }

    fn ipc(columns: &[(&str, Vec<Value>)]) -> Vec<u8> {
        let arrays: Vec<_> =
            columns.iter().map(|(name, values)| encode::column(name, values.clone()).expect("one type")).collect();
        let fields: Vec<_> = columns
            .iter()
            .zip(&arrays)
            .map(|((name, _), array)| Field::new(*name, array.data_type().clone(), true))
            .collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("a batch");
        encode::ipc(&batch, BTreeMap::new(), Form::File).expect("a file")
    }

    #[test]
    fn an_answer_has_a_list_for_each_output() {
        let scalars = ipc(&[
            ("user.id", vec![Value::Int(1), Value::Int(2)]),
            ("user.score", vec![Value::Double(0.5), Value::Null]),
        ]);
        let group = ipc(&[("user.id", vec![Value::Int(1)]), ("card.id", vec![Value::text("c")])]);
        let groups = frame("{}", &[("user.cards", &group)], &[]);
        let attributes = r#"{"has_data": true, "errors": ["{\"code\": \"RESOLVER_FAILED\"}"], "meta": null}"#;
        let one = frame(attributes, &[("scalar_data", &scalars)], &[("groups_data", &groups)]);
        let results = frame("{}", &[("0", &one)], &[]);
        let body = frame("{}", &[], &[("query_results_bytes", &results)]);
        let (outputs, errors) = answer(&body.into(), 1 << 20).expect("an answer");
        let told: Vec<_> = outputs.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(
            told,
            [("user.cards", r#"[{"user.id":1,"card.id":"c"}]"#), ("user.id", "[1,2]"), ("user.score", "[0.5,null]"),]
        );
        assert_eq!(errors, [r#"{"code": "RESOLVER_FAILED"}"#]);
    }
}
