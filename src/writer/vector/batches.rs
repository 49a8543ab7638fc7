//! From a `VectorBatch` to the vectors in it, and those that it deletes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytestring::ByteString;

use super::decode::VectorDecoder;
use super::features::{Column, Stored};
use crate::decode::Decoded;
use crate::proto::writer::v1::{
    self as wire, VectorBatch, VectorMetric, VectorPrecision, value::Kind, vector_delete, vector_upsert,
    vector_value::Elements,
};
use crate::row::vector::{Point, VectorKey, VectorRow};
use crate::sink::{ErrorClass, Refusal};
use crate::value::conform::conform;
use crate::value::dtype::Precision;
use crate::value::{Metric, Value, Vector, decimal, time};
use crate::writer::body::Read;
use crate::writer::entity;
use crate::writer::open::{Admitted, Unopened};
use crate::writer::time::{MessageTimes, from_proto, observed_at};

/// What holds for every vector of a batch.
struct Context<'a> {
    decoder: &'a VectorDecoder,
    environment: Arc<str>,
    destination: usize,
    stored: &'a Stored,
    metric: Metric,
    precision: Option<Precision>,
    dimension: usize,
    times: MessageTimes,
}

impl VectorDecoder {
    /// Appends the rows of a batch.
    pub(super) fn batch<'a>(
        &self,
        admitted: &Admitted<'a>,
        read: Read<VectorBatch>,
        decoded: &mut Decoded<VectorRow>,
    ) -> Result<(), Unopened<'a>> {
        let Read { message: batch, unpacked } = read;
        admitted.is_of(&batch.environment_id)?;
        let header = admitted.envelope.environment.unwrap_or_default();
        let id = if batch.environment_id.is_empty() { header } else { &batch.environment_id };
        let values = (batch.upserts.len() + batch.deletes.len()) as u64;
        decoded.event_time = admitted.event_time(None);
        let Some((environment, destination)) = self.catalog.place(id, || values.max(1), decoded) else { return Ok(()) };
        decoded.unpacked = unpacked;
        let refused = |message: String| Refusal::new(ErrorClass::Decode, message);
        let namespace = match (batch.namespace.as_str(), batch.feature.split_once('.')) {
            ("", Some((namespace, _))) => namespace,
            (given, _) => given,
        };
        let stored = match environment.entry.column(namespace, &batch.feature) {
            Column::Store(stored) => stored,
            Column::Skip(reason) => {
                decoded.skip(reason, values.max(1));
                return Ok(());
            }
            Column::Refuse(reason) => {
                decoded.refuse(refused(reason.to_string()).table(namespace));
                return Ok(());
            }
            Column::Time => {
                decoded.refuse(refused(format!("`{}` is a column of times, and has no vectors", batch.feature)));
                return Ok(());
            }
        };
        let metric = VectorMetric::try_from(batch.metric).ok();
        let precision = VectorPrecision::try_from(batch.precision).ok();
        let (Some(metric), Some(precision)) = (metric, precision) else {
            let message = "a metric or precision with a number that is none of theirs".to_owned();
            decoded.refuse(refused(message).table(&batch.feature));
            return Ok(());
        };
        let context = Context {
            decoder: self,
            environment: environment.id.clone(),
            destination,
            stored: &stored,
            metric: named_metric(metric).or(stored.metric).unwrap_or_default(),
            precision: named_precision(precision),
            dimension: batch.dimension as usize,
            times: MessageTimes { message: admitted.envelope.time, bus: admitted.bus_time() },
        };
        decoded.rows.reserve(batch.upserts.len() + batch.deletes.len());
        for (at, upsert) in batch.upserts.into_iter().enumerate() {
            let id = upsert.id.map(|id| match id {
                vector_upsert::Id::TextId(id) => Value::text(id),
                vector_upsert::Id::IntId(id) => Value::Int(id),
            });
            let point = upsert.vector.ok_or_else(|| refused("an upsert without a vector".to_owned()));
            let point = point.and_then(|vector| context.point(vector, upsert.payload));
            context.push(("upserts", at), id, upsert.observed_at, point.map(Some), decoded);
        }
        for (at, delete) in batch.deletes.into_iter().enumerate() {
            let id = delete.id.map(|id| match id {
                vector_delete::Id::TextId(id) => Value::text(id),
                vector_delete::Id::IntId(id) => Value::Int(id),
            });
            context.push(("deletes", at), id, delete.observed_at, Ok(None), decoded);
        }
        Ok(())
    }
}

impl Context<'_> {
    fn push(
        &self,
        (list, at): (&str, usize),
        id: Option<Value>,
        time: Option<pbjson_types::Timestamp>,
        point: Result<Option<Point>, Refusal>,
        decoded: &mut Decoded<VectorRow>,
    ) {
        let row = id
            .as_ref()
            .ok_or_else(|| Refusal::new(ErrorClass::Decode, "a vector without an id"))
            .and_then(|id| Ok((entity::primary_key(id)?, self.time(time)?, point?)));
        match row {
            Ok((id, observed_at, point)) => decoded.rows.push(VectorRow {
                destination: self.destination,
                key: VectorKey { feature: self.stored.feature.clone(), environment: self.environment.clone(), id },
                metric: self.metric,
                observed_at,
                point,
            }),
            Err(refusal) => {
                let namespace = &self.stored.feature.namespace;
                let refusal = match id {
                    Some(id) => entity::at_row(refusal, namespace, &id, at),
                    None => refusal.row(format_args!("{list}[{at}]")).table(namespace),
                };
                decoded.refuse(refusal);
            }
        }
    }

    fn time(&self, given: Option<pbjson_types::Timestamp>) -> Result<i64, Refusal> {
        let given = match given {
            None => None,
            Some(given) => Some(from_proto(&given).map_err(|fault| Refusal::new(ErrorClass::Decode, fault))?),
        };
        self.decoder.believable.check(observed_at(given, self.times)?)
    }

    fn point(&self, vector: wire::VectorValue, payload: BTreeMap<String, wire::Value>) -> Result<Point, Refusal> {
        let decode = |fault| Refusal::new(ErrorClass::Decode, fault);
        let vector = elements(vector).map_err(decode)?;
        let found = vector.dimension();
        if self.dimension != 0 && found != self.dimension {
            let message = format!("a vector of dimension {found} in a batch of dimension {}", self.dimension);
            return Err(Refusal::new(ErrorClass::DimensionMismatch, message).harmless());
        }
        let vector = match self.precision {
            None => vector,
            Some(precision) => vector.exactly_in(precision).ok_or_else(|| {
                let (given, asked) = (vector.precision().as_str(), precision.as_str());
                let message = format!("a vector of {given} in a batch of {asked}, which cannot hold it");
                Refusal::new(ErrorClass::ValueRefused, message).harmless()
            })?,
        };
        let vector = match &self.stored.dtype {
            None => Arc::new(vector),
            Some(dtype) => {
                let conformed = conform(Value::Vector(Arc::new(vector)), dtype)
                    .map_err(|fault| entity::type_mismatch(&self.stored.name, &fault))?;
                let Value::Vector(vector) = conformed else {
                    return Err(Refusal::new(ErrorClass::TypeMismatch, "no vector"));
                };
                vector
            }
        };
        let fields = payload.into_iter().map(|(name, given)| Ok((ByteString::from(name), value(given)?)));
        let payload = fields.collect::<Result<_, String>>().map(Value::Struct).map_err(decode)?;
        Ok(Point { vector, payload })
    }
}

fn named_metric(metric: VectorMetric) -> Option<Metric> {
    match metric {
        VectorMetric::Unspecified => None,
        VectorMetric::L2 => Some(Metric::L2),
        VectorMetric::Ip => Some(Metric::Ip),
        VectorMetric::Cos => Some(Metric::Cos),
    }
}

fn named_precision(precision: VectorPrecision) -> Option<Precision> {
    match precision {
        VectorPrecision::Unspecified => None,
        VectorPrecision::Fp16 => Some(Precision::Fp16),
        VectorPrecision::Fp32 => Some(Precision::Fp32),
        VectorPrecision::Fp64 => Some(Precision::Fp64),
    }
}

fn elements(vector: wire::VectorValue) -> Result<Vector, String> {
    match vector.elements {
        Some(Elements::Fp16(half)) => {
            let (bits, rest) = half.bits.as_chunks();
            if !rest.is_empty() {
                return Err(format!("elements of half precision in {} bytes, which are no pairs", half.bits.len()));
            }
            Ok(Vector::Fp16(bits.iter().map(|bits| u16::from_le_bytes(*bits)).collect()))
        }
        Some(Elements::Fp32(single)) => Ok(Vector::Fp32(single.elements)),
        Some(Elements::Fp64(double)) => Ok(Vector::Fp64(double.elements)),
        None => Err("expected a vector of fp16, fp32 or fp64, found none of them".to_owned()),
    }
}

/// A value of a payload. Protobuf's reader goes no deeper than 100, and JSON's no deeper than 64.
fn value(given: wire::Value) -> Result<Value, String> {
    let Some(kind) = given.kind else { return Ok(Value::Null) };
    Ok(match kind {
        Kind::NullValue(_) => Value::Null,
        Kind::BoolValue(value) => Value::Bool(value),
        Kind::IntValue(value) => Value::Int(value),
        Kind::DoubleValue(value) => Value::Double(value),
        Kind::StringValue(text) => Value::text(text),
        Kind::BytesValue(bytes) => Value::Bytes(bytes),
        Kind::TimestampValue(time) => Value::Timestamp(from_proto(&time)?),
        Kind::DateValue(text) => time::parse_date(&text).map(Value::Date).ok_or("expected a date as YYYY-MM-DD")?,
        Kind::DecimalValue(text) => {
            let canonical = decimal::canonical(&text).ok_or("expected a decimal as text, without an exponent")?;
            Value::Decimal(canonical.into_owned().into())
        }
        Kind::ListValue(list) => Value::List(list.items.into_iter().map(value).collect::<Result<_, _>>()?),
        Kind::StructValue(fields) => {
            let fields = fields.fields.into_iter();
            let fields = fields.map(|field| Ok((field.name.into(), value(field.value.unwrap_or_default())?)));
            Value::Struct(fields.collect::<Result<_, String>>()?)
        }
        Kind::VectorValue(vector) => Value::Vector(Arc::new(elements(vector)?)),
    })
}
