use super::*;

fn conformed(value: Value, declared: &str) -> Result<Value, String> {
    conform(value, &declared.parse().expect(declared)).map_err(|mismatch| mismatch.to_string())
}

fn list(items: impl IntoIterator<Item = f64>) -> Value {
    Value::List(items.into_iter().map(Value::Double).collect())
}

#[test]
fn text_becomes_what_json_has_no_type_for() {
    for (text, declared, expected) in [
        ("2026-11-22T18:32:00Z", "timestamp", Value::Timestamp(1_795_372_320_000_000)),
        ("1970-01-02", "date", Value::Date(1)),
        ("9007199254740993", "int64", Value::Int(9_007_199_254_740_993)),
        ("-Infinity", "float64", Value::Double(f64::NEG_INFINITY)),
        ("1.5", "decimal(5,2)", Value::Decimal("1.50".into())),
        ("_-8", "bytes", Value::Bytes(vec![0xff, 0xef].into())),
        ("/+8=", "bytes", Value::Bytes(vec![0xff, 0xef].into())),
        ("plain", "string", Value::text("plain")),
    ] {
        assert_eq!(conformed(Value::text(text), declared), Ok(expected), "{text} as {declared}");
    }
}

#[test]
fn an_integer_becomes_a_double_only_where_nothing_is_lost() {
    assert_eq!(conformed(Value::Int(1 << 53), "float64"), Ok(Value::Double(9_007_199_254_740_992.0)));
    assert_eq!(
        conformed(Value::Int((1 << 53) + 1), "float64"),
        Err("expected float64, found int64 9007199254740993".to_owned())
    );
    assert!(conformed(Value::Double(1.0), "int64").is_err());
    assert_eq!(conformed(Value::Double(0.1), "decimal(3,1)"), Ok(Value::Decimal("0.1".into())));
    assert!(conformed(Value::Double(1.0 / 3.0), "decimal(38,30)").is_err());
}

#[test]
fn a_mismatch_says_what_was_expected_what_was_found_and_where() {
    assert_eq!(conformed(Value::text("abc"), "int64"), Err("expected int64, found string \"abc\"".to_owned()));
    let long = conformed(Value::text("x".repeat(1000)), "bool").expect_err("text is no bool");
    assert_eq!(long, format!("expected bool, found string \"{}…\"", "x".repeat(37)));
    let nested = Value::List(vec![Value::Null, Value::Struct(vec![("name".into(), Value::Bool(true))])]);
    assert_eq!(
        conformed(nested, "list<struct<name: string>>"),
        Err("expected string, found bool true at [1].name".to_owned())
    );
    let surplus = Value::Struct(vec![("a".into(), Value::Int(1)), ("b".into(), Value::Int(2))]);
    assert_eq!(conformed(surplus, "struct<a: int64>"), Err("expected no such field, found int64 2 at .b".to_owned()));
}

#[test]
fn null_is_of_every_type() {
    for declared in ["bool", "list<int64>", "vector<fp32, 3>", "struct<a: date>"] {
        assert_eq!(conformed(Value::Null, declared), Ok(Value::Null));
    }
    assert_eq!(
        conformed(Value::Struct(vec![("b".into(), Value::Null)]), "struct<a: int64>"),
        Ok(Value::Struct(vec![("a".into(), Value::Null)]))
    );
}

#[test]
fn a_list_of_numbers_is_a_vector_of_the_declared_precision() {
    let vector = |vector| Ok(Value::Vector(Arc::new(vector)));
    let numbers = Value::List(vec![Value::Int(1), Value::Double(0.1), Value::text("NaN")]);
    let Ok(Value::Vector(single)) = conformed(numbers, "vector<fp32, 3>") else { panic!("a vector") };
    assert!(matches!(&*single, Vector::Fp32(v) if v[..2] == [1.0, 0.1] && v[2].is_nan()));
    // 1 + 2^-11 lies half way between two half-precision numbers: ties go to even.
    let halves = [1.0 + 2_f64.powi(-11), 65504.0];
    assert_eq!(conformed(list(halves), "vector<fp16, 2>"), vector(Vector::Fp16(vec![0x3c00, 0x7bff])));
    assert_eq!(conformed(list([1.5]), "vector<fp64, 1>"), vector(Vector::Fp64(vec![1.5])));
    assert_eq!(
        conformed(list([0.0, 1e6]), "vector<fp16, 2>"),
        Err("expected vector<fp16, 2>, found float64 1000000.0 at [1]".to_owned())
    );
}

#[test]
fn another_dimension_is_a_class_of_its_own() {
    let declared = "vector<fp32, 3>".parse().expect("a type");
    for value in [list([1.0]), Value::Vector(Arc::new(Vector::Fp32(vec![1.0; 4])))] {
        let mismatch = conform(value, &declared).expect_err("another dimension");
        assert_eq!(mismatch.class(), ErrorClass::DimensionMismatch);
    }
    let mismatch = conform(Value::text("x"), &declared).expect_err("text");
    assert_eq!(mismatch.class(), ErrorClass::TypeMismatch);
}
