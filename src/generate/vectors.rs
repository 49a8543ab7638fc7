//! Batches of vectors: summaries of documents, some new, a few taken away.

use super::draft::Draft;
use crate::message::{EventType, Outgoing};
use crate::proto::writer::v1::value::Kind;
use crate::proto::writer::v1::vector_value::Elements;
use crate::proto::writer::v1::{
    SingleElements, Value, VectorBatch, VectorDelete, VectorMetric, VectorPrecision, VectorUpsert, VectorValue,
    vector_delete, vector_upsert,
};
use crate::result::encode::timestamp;

const DIMENSION: u32 = 16;

pub(super) fn message(draft: &mut Draft) -> Outgoing {
    let mut batch = VectorBatch {
        environment_id: draft.options.environment.clone(),
        namespace: "document".to_owned(),
        feature: "document.summary".to_owned(),
        dimension: DIMENSION,
        metric: VectorMetric::Cos.into(),
        precision: VectorPrecision::Fp32.into(),
        ..VectorBatch::default()
    };
    for _ in 0..draft.random.usize(1..6) {
        let document = format!("doc-{:06}", draft.random.u64(..draft.options.entities));
        let observed_at = Some(timestamp(draft.time()));
        if draft.chance(5) {
            let id = Some(vector_delete::Id::TextId(document));
            batch.deletes.push(VectorDelete { id, observed_at });
            continue;
        }
        let elements = (0..DIMENSION).map(|_| draft.random.f32() - 0.5).collect();
        let text = |text: String| Value { kind: Some(Kind::StringValue(text)) };
        batch.upserts.push(VectorUpsert {
            id: Some(vector_upsert::Id::TextId(document)),
            vector: Some(VectorValue { elements: Some(Elements::Fp32(SingleElements { elements })) }),
            observed_at,
            payload: [
                ("lang".to_owned(), text(draft.one_of(&["de", "en", "fr"]))),
                ("pages".to_owned(), Value { kind: Some(Kind::IntValue(draft.random.i64(1..80))) }),
            ]
            .into(),
        });
    }
    draft.message(EventType::VectorBatch, "", &batch)
}
