//! DuckDB, pyarrow, pandas and Polars read the same rows and types: checked by `tests/lake/read_lake.py`.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use chalk_writer::value::{Value, Vector};

use super::support::{DAY, NOON, open, row, shape, write};

fn check(root: &Path, expected: &serde_json::Value) {
    let python = std::env::var("CHALK_WRITER_TEST_PYTHON").unwrap_or_else(|_| {
        panic!(
            "CHALK_WRITER_TEST_PYTHON must name a Python that has the packages of tests/lake/requirements.txt; \
             `./dev test` installs one and sets it"
        )
    });
    let file = root.join("_expected.json");
    std::fs::write(&file, expected.to_string()).expect("written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lake/read_lake.py");
    let output = Command::new(&python).arg(script).arg(root).arg(&file).output();
    let output = output.unwrap_or_else(|error| panic!("CHALK_WRITER_TEST_PYTHON `{python}`: {error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("duckdb: 2 tables") && said.contains("polars: 2 tables"), "{said}");
}

#[tokio::test]
async fn every_reader_sees_the_same_rows_and_types() {
    let root = tempfile::tempdir().expect("folder");
    let store = open(root.path());
    let vector = |elements: &[f32]| Value::Vector(Arc::new(Vector::Fp32(elements.to_vec())));
    let all = shape(
        "user",
        &[
            ("select", None),
            ("flag", None),
            ("score", None),
            ("name é\"'", None),
            ("raw", None),
            ("seen", None),
            ("born", None),
            ("price", Some("decimal(12,2)")),
            ("exact", None),
            ("tags", None),
            ("nested", None),
            ("address", None),
            ("embedding", None),
            ("only_nulls", None),
            ("declared", Some("int64")),
            ("date", None),
        ],
    );
    let full = [
        Value::Int((1 << 53) + 1),
        Value::Bool(true),
        Value::Double(0.1),
        Value::text("Ada 🦀"),
        Value::Bytes(vec![0, 255].into()),
        Value::Timestamp(NOON),
        Value::Date(-1),
        Value::Decimal("1234567890.10".into()),
        Value::Decimal("-0.000000000000000001".into()),
        Value::List(vec![Value::text("a"), Value::Null]),
        Value::List(vec![Value::List(vec![Value::Int(1)]), Value::List(vec![])]),
        Value::Struct(vec![("city".into(), Value::text("Paris")), ("zip".into(), Value::Int(75))]),
        vector(&[0.5, -2.0]),
        Value::Null,
        Value::Null,
        Value::text("not the partition"),
    ];
    let mut empty = full.clone();
    empty.fill(Value::Null);
    empty[9] = Value::List(vec![]);
    let rows = [row(&all, 1, NOON, full), row(&all, 2, NOON + DAY, empty)];
    assert!(write(&store, "w", &rows).await.expect("written").refused.is_empty());

    // A table whose columns appear and widen from file to file.
    for (unit, (name, value)) in
        [("n", Value::Int(1)), ("n", Value::Double(0.5)), ("late", Value::text("x"))].into_iter().enumerate()
    {
        let rows = [row(&shape("evolved", &[(name, None)]), unit as i64, NOON, [value])];
        write(&store, &format!("u{unit}"), &rows).await.expect("written");
    }

    let micros = "timestamp[us, tz=UTC]";
    let user = serde_json::json!({
        "types": {
            "__observation_id__": "string", "__id__": "int64", "__ts__": micros, "__inserted_at__": micros,
            "select": "int64", "flag": "bool", "score": "double", "name é\"'": "string", "raw": "binary",
            "seen": micros, "born": "date32[day]", "price": "decimal128(12, 2)", "exact": "decimal128(38, 18)",
            "tags": "list<element: string>", "nested": "list<element: list<element: int64>>",
            "address": "struct<city: string, zip: int64>", "embedding": "fixed_size_list<element: float>[2]",
            "declared": "int64", "date_": "string",
        },
        "rows": [
            {"__observation_id__": "obs-1", "__id__": "1", "__ts__": "2026-11-22T18:32:00.123456", "select": "9007199254740993",
             "flag": "true", "score": "0.1", "name é\"'": "Ada 🦀", "raw": "00ff", "seen": "2026-11-22T18:32:00.123456",
             "born": "1969-12-31", "price": "1234567890.10", "exact": "-0.000000000000000001", "tags": ["a", null],
             "nested": [["1"], []], "address": {"city": "Paris", "zip": "75"}, "embedding": ["0.5", "-2.0"],
             "declared": null, "date_": "not the partition"},
            {"__observation_id__": "obs-2", "__id__": "2", "__ts__": "2026-11-23T18:32:00.123456", "select": null,
             "flag": null, "score": null, "name é\"'": null, "raw": null, "seen": null, "born": null, "price": null,
             "exact": null, "tags": [], "nested": null, "address": null, "embedding": null, "declared": null,
             "date_": null},
        ],
    });
    let at = "2026-11-22T18:32:00.123456";
    let evolved = serde_json::json!({
        "types": {
            "__observation_id__": "string", "__id__": "int64", "__ts__": micros, "__inserted_at__": micros,
            "n": "double", "late": "string",
        },
        "rows": [
            {"__observation_id__": "obs-0", "__id__": "0", "__ts__": at, "n": "1.0", "late": null},
            {"__observation_id__": "obs-1", "__id__": "1", "__ts__": at, "n": "0.5", "late": null},
            {"__observation_id__": "obs-2", "__id__": "2", "__ts__": at, "n": null, "late": "x"},
        ],
    });
    check(root.path(), &serde_json::json!({"user": user, "evolved": evolved}));
}
