//! What others read in Postgres, that its index is used, and who may make what.

use std::sync::Arc;

use chalk_writer::row::vector::{VectorFeature, VectorKey, VectorRow};
use chalk_writer::sink::{ErrorClass, SinkError, Write};
use chalk_writer::store::vector::VectorStore;
use chalk_writer::value::Metric;
use chalk_writer::value::Vector;

use super::place::{
    Place, RETENTION, key, nearest, pgvector, refused, row, singles, store, stored, tombstone, under, vector,
};
use crate::postgres::{PostgresServer, Version};

async fn fails(store: &dyn VectorStore, row: &VectorRow) -> SinkError {
    store.write(Write { id: "write", rows: &[row], concurrency: 1 }).await.expect_err("it cannot be written")
}

#[tokio::test]
async fn the_tables_are_as_the_documentation_has_them() {
    let server = pgvector();
    let store = store(&server.uri(), RETENTION);
    let at = 1_700_000_000_123_456;
    let of = |name: &str, vector| row(key(name, "42"), at, vector);
    stored(
        &*store,
        &[of("embedding", singles(&[1.0, -2.5])), under(Metric::Cos, of("half~1", Vector::Fp16(vec![0x3c00])))],
    )
    .await;
    stored(&*store, &[under(Metric::Ip, of("product@2", Vector::Fp64(vec![0.5])))]).await;
    let known = server
        .sql("SELECT namespace, feature, table_name, dimension, metric, precision FROM vector_tables ORDER BY feature");
    let expected = "user|embedding|vectors_user__embedding|2|l2|fp32\n\
                    user|half~1|vectors_user__half__i1|1|cos|fp16\n\
                    user|product@2|vectors_user__product__v2|1|ip|fp32";
    assert_eq!(known, expected);
    let rows = server.sql("SET TimeZone = 'UTC'; SELECT environment, id, embedding, payload, observed_at, evicted FROM vectors_user__embedding");
    assert_eq!(rows, "prod|42|[1,-2.5]|{}|2023-11-14 22:13:20.123456+00|f");
    let types = server.sql(
        "SELECT string_agg(format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute \
         WHERE attrelid = 'vectors_user__half__i1'::regclass AND attnum > 0",
    );
    assert_eq!(types, "text, text, jsonb, timestamp with time zone, boolean, halfvec(1)");
    let indexes = server.sql("SELECT indexdef FROM pg_indexes WHERE indexdef LIKE '%hnsw%' ORDER BY tablename");
    for (index, operators) in
        indexes.lines().zip(["embedding vector_l2_ops", "embedding halfvec_cosine_ops", "embedding vector_ip_ops"])
    {
        assert!(index.contains(operators), "{index}");
    }
}

#[tokio::test]
async fn the_index_is_used_where_there_is_much_to_look_at() {
    let place = Place::start("postgres");
    let Place::Postgres(server) = &place else { unreachable!("that was asked for") };
    let store = place.store();
    let mut rng = fastrand::Rng::with_seed(1);
    for (metric, operator) in [(Metric::L2, "<->"), (Metric::Ip, "<#>"), (Metric::Cos, "<=>")] {
        let rows: Vec<VectorRow> = (0..1_500)
            .map(|id| {
                let elements: Vec<f32> = (0..8).map(|_| rng.f32() + 0.01).collect();
                under(metric, row(key(&format!("many_{metric}"), &id.to_string()), 1, Vector::Fp32(elements)))
            })
            .collect();
        assert_eq!(stored(&*store, &rows).await.stored, 1_500);
        let plan = server.sql(&format!(
            "ANALYZE vectors_user__many_{metric}; SET enable_seqscan = off; EXPLAIN SELECT id FROM vectors_user__many_{metric} \
             WHERE environment = 'prod' ORDER BY embedding {operator} '[1,0,0,0,0,0,0,0]' LIMIT 5"
        ));
        assert!(plan.contains("Index Scan using vectors_user__many") && plan.contains("embedding_idx"), "{plan}");
        assert_eq!(nearest(&*store, &format!("many_{metric}"), "prod", &[1.0; 8], 50).await.len(), 50);
    }
}

#[tokio::test]
async fn what_no_index_takes_is_stored_without_one_and_what_no_table_takes_is_refused() {
    let server = pgvector();
    let store = store(&server.uri(), RETENTION);
    let wide = |name: &str, dimension: usize| row(key(name, "1"), 1, singles(&vec![1.0; dimension]));
    let half = |name: &str, dimension: usize| row(key(name, "1"), 1, Vector::Fp16(vec![0x3c00; dimension]));
    let rows = [wide("a", 2_000), wide("b", 2_001), half("c", 4_000), half("d", 4_001), wide("e", 16_001)];
    assert_eq!(refused(&*store, &rows).await, [(4, ErrorClass::TooLarge)]);
    let indexed =
        server.sql("SELECT string_agg(tablename, ',' ORDER BY tablename) FROM pg_indexes WHERE indexdef LIKE '%hnsw%'");
    assert_eq!(indexed, "vectors_user__a,vectors_user__c");
    assert_eq!(nearest(&*store, "d", "prod", &vec![0.0; 4_001], 1).await.len(), 1);
    let nul = VectorKey { id: "\0".into(), ..key("a", "1") };
    assert_eq!(refused(&*store, &[row(nul, 1, singles(&vec![1.0; 2_000]))]).await, [(0, ErrorClass::ValueRefused)]);
}

#[tokio::test]
async fn the_schema_that_the_uri_names_is_made_and_used_quoted_and_the_extension_may_be_in_another() {
    let server = pgvector();
    server.sql("CREATE SCHEMA \"The Extensions\"; GRANT USAGE ON SCHEMA \"The Extensions\" TO writer; CREATE EXTENSION vector SCHEMA \"The Extensions\"");
    let store = store(&format!("{}?schema=My%20Schema", server.uri()), RETENTION);
    stored(&*store, &[row(key("a", "1"), 1, singles(&[1.0])), row(key("a", "2"), 1, singles(&[4.0]))]).await;
    assert_eq!(vector(&*store, &key("a", "1")).await, Some(singles(&[1.0])));
    assert_eq!(nearest(&*store, "a", "prod", &[3.0], 1).await[0].id, "2");
    assert_eq!(server.sql("SELECT count(*) FROM \"My Schema\".vectors_user__a"), "2");
}

#[tokio::test]
async fn a_server_without_the_extension_and_a_role_without_rights_say_what_to_do() {
    let debian = PostgresServer::start(Version::Debian, &[]);
    let SinkError::Denied { reason } =
        fails(&*store(&debian.uri(), RETENTION), &row(key("a", "1"), 1, singles(&[1.0]))).await
    else {
        panic!("a person has to install it")
    };
    assert!(reason.contains("the extension pgvector, which is not installed on this server"), "{reason}");
    let server = PostgresServer::start(Version::Newest, &[]);
    server.sql("CREATE ROLE narrow LOGIN PASSWORD 'right'");
    let narrow = store(&server.uri().replace("writer", "narrow"), RETENTION);
    let SinkError::Denied { reason } = fails(&*narrow, &row(key("a", "1"), 1, singles(&[1.0]))).await else {
        panic!("a person has to make it")
    };
    assert!(reason.contains("has to run `CREATE EXTENSION vector`"), "{reason}");
    server.sql("ALTER ROLE writer SUPERUSER");
    // Once the tables are there, a role that may only write needs no other right.
    stored(&*store(&server.uri(), RETENTION), &[row(key("a", "1"), 1, singles(&[1.0]))]).await;
    server.sql(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON vectors_user__a TO narrow; GRANT SELECT ON vector_tables TO narrow",
    );
    stored(&*narrow, &[row(key("a", "1"), 2, singles(&[2.0])), tombstone(key("a", "2"), 2)]).await;
    assert_eq!(vector(&*narrow, &key("a", "1")).await, Some(singles(&[2.0])));
}

#[tokio::test]
async fn a_table_that_a_person_drops_is_made_again_and_one_that_is_not_ours_is_no_verdict() {
    let server = pgvector();
    let store = store(&server.uri(), RETENTION);
    stored(&*store, &[row(key("a", "1"), 1, singles(&[1.0]))]).await;
    server.sql("DROP TABLE vectors_user__a");
    stored(&*store, &[row(key("a", "1"), 1, singles(&[1.0, 2.0]))]).await;
    assert_eq!(vector(&*store, &key("a", "1")).await, Some(singles(&[1.0, 2.0])));
    server.sql("ALTER TABLE vectors_user__a DROP COLUMN embedding, ADD COLUMN embedding text");
    let SinkError::Transient { reason } = fails(&*store, &row(key("a", "1"), 3, singles(&[1.0, 2.0]))).await else {
        panic!("a person has to look at it")
    };
    assert!(reason.contains("its column `embedding` is of type text"), "{reason}");
}

#[tokio::test]
async fn a_server_that_goes_and_comes_back_has_what_was_written_and_takes_the_rest() {
    let mut server = pgvector();
    let store = store(&server.uri(), RETENTION);
    let rows: Vec<VectorRow> = (0..2_000)
        .map(|id| {
            let of = VectorKey {
                feature: Arc::new(VectorFeature { namespace: "user".into(), name: "a".into() }),
                ..key("", &id.to_string())
            };
            row(of, 1, singles(&[id as f32, 1.0]))
        })
        .collect();
    stored(&*store, &rows[..1_000]).await;
    server.kill();
    assert!(matches!(fails(&*store, &rows[1_000]).await, SinkError::Transient { .. }));
    server.start_again();
    let outcome = stored(&*store, &rows).await;
    assert_eq!((outcome.stored, outcome.stale), (1_000, 1_000));
    assert_eq!(nearest(&*store, "a", "prod", &[1_999.0, 1.0], 1).await[0].id, "1999");
}
