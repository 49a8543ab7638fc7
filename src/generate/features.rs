//! What the generated entities are like: namespaces, features, and how their values are drawn.

use crate::proto::common::v1::{ChalkError, ErrorCode, ErrorCodeCategory};
use crate::proto::pubsub::v1::{QueryMessagePubSub, QueryStatus};
use crate::proto::writer::v1;
use crate::proto::writer::v1::value::Kind;
use crate::result::encode::timestamp;
use crate::value::time;

/// A namespace and what a query computes of it.
struct Namespace {
    name: &'static str,
    query: &'static str,
    features: &'static [Feature],
}

struct Feature {
    name: &'static str,
    resolver: &'static str,
    draw: Draw,
}

/// How a value is drawn.
#[derive(Clone, Copy)]
enum Draw {
    /// A whole number below.
    Count(i64),
    /// Any 64-bit number: most are no doubles.
    Wide,
    /// Between 0 and 1.
    Score,
    /// An amount with two digits after the point, up to.
    Amount(f64),
    /// A normal variate.
    Gauss,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// So many letters.
    Letters(usize),
    Flag,
    /// A time within so many days before the result.
    Recent(i64),
    Day,
    Decimal,
    /// Some whole numbers below.
    List(i64),
    Embedding(usize),
    Address,
}

const fn feature(name: &'static str, resolver: &'static str, draw: Draw) -> Feature {
    Feature { name, resolver, draw }
}

const NAMES: &[&str] =
    &["Ada", "Blaise", "Chien-Shiung", "Dorothy", "Émilie", "Fatima", "Grace", "Hedy", "Işıl", "José"];
const COUNTRIES: &[&str] = &["DE", "FR", "GB", "IN", "JP", "NG", "US"];

const USER: Namespace = Namespace {
    name: "user",
    query: "fraud_check",
    features: &[
        feature("user.name", "accounts.get_user", Draw::OneOf(NAMES)),
        feature("user.email_domain", "accounts.get_user", Draw::Letters(12)),
        feature("user.score", "fraud.get_score", Draw::Score),
        feature("user.country", "accounts.get_user", Draw::OneOf(COUNTRIES)),
        feature("user.device_hash", "devices.get_device", Draw::Wide),
        feature("user.signup_at", "accounts.get_user", Draw::Recent(900)),
        feature("user.is_verified", "accounts.get_user", Draw::Flag),
        feature("user.count__86400__", "transactions.count", Draw::Count(200)),
        feature("user.balance", "ledger.get_balance", Draw::Decimal),
        feature("user.recent_merchants", "transactions.merchants", Draw::List(50_000)),
        feature("user.address", "accounts.get_address", Draw::Address),
        feature("user.score@2", "fraud.get_score_v2", Draw::Gauss),
    ],
};

const MERCHANT: Namespace = Namespace {
    name: "merchant",
    query: "merchant_risk",
    features: &[
        feature("merchant.title", "merchants.get_merchant", Draw::Letters(24)),
        feature(
            "merchant.category",
            "merchants.get_merchant",
            Draw::OneOf(&["books", "food", "games", "travel", "utilities"]),
        ),
        feature("merchant.country", "merchants.get_merchant", Draw::OneOf(COUNTRIES)),
        feature("merchant.opened_on", "merchants.get_merchant", Draw::Day),
        feature("merchant.chargebacks", "disputes.count", Draw::Count(1000)),
        feature("merchant.volume__604800__", "transactions.volume", Draw::Amount(1e6)),
        feature("merchant.risk", "fraud.merchant_risk", Draw::Score),
        feature("merchant.is_blocked", "merchants.get_merchant", Draw::Flag),
        feature("merchant.embedding", "search.embed", Draw::Embedding(8)),
        feature("merchant.drift", "fraud.merchant_drift", Draw::Gauss),
    ],
};

const TRANSACTION: Namespace = Namespace {
    name: "transaction",
    query: "authorize",
    features: &[
        feature("transaction.amount", "transactions.get", Draw::Amount(500.0)),
        feature("transaction.currency", "transactions.get", Draw::OneOf(&["EUR", "GBP", "INR", "JPY", "USD"])),
        feature("transaction.at", "transactions.get", Draw::Recent(2)),
        feature("transaction.merchant_id", "transactions.get", Draw::Count(50_000)),
        feature("transaction.memo", "transactions.get", Draw::Letters(40)),
        feature("transaction.is_contactless", "transactions.get", Draw::Flag),
        feature("transaction.fee", "ledger.fee", Draw::Decimal),
        feature("transaction.risk", "fraud.transaction_risk", Draw::Score),
        feature("transaction.trace", "transactions.get", Draw::Wide),
        feature("transaction.hour", "transactions.hour", Draw::Count(24)),
    ],
};

/// Gives a result its query, its tables, its resolver runs, and now and then an error.
pub(super) fn fill(result: &mut v1::QueryResult, random: &mut fastrand::Rng, entities: u64, time: i64) {
    let namespace = match random.u8(..100) {
        0..60 => &USER,
        60..75 => &MERCHANT,
        _ => &TRANSACTION,
    };
    let mut rows = v1::Rows { columns: columns(namespace), rows: Vec::new() };
    let entity = random.u64(..entities);
    rows.rows.push(row(namespace, id_of(namespace, entity), random, time));
    result.tables.push(table(namespace.name, rows));
    if namespace.name == USER.name && random.u8(..100) < 8 {
        result.tables.push(has_many(random, entities, time));
    }
    let failed = random.u8(..100) < 2;
    if failed {
        result.errors.push(error(namespace, random));
    }
    let duration = f64::from(random.u32(500..20_000)) / 1e6;
    result.resolver_runs = resolver_runs(namespace, random, failed);
    result.query = Some(QueryMessagePubSub {
        operation_id: result.operation_id.clone(),
        environment_id: result.environment_id.clone(),
        query_name: Some(namespace.query.to_owned()),
        input_features: vec![format!("{}.id", namespace.name)],
        output_features: columns(namespace),
        created_at: time,
        has_errors: Some(failed),
        deployment_id: Some(result.deployment_id.clone()),
        query_duration_seconds: Some(duration as f32),
        trace_id: Some(format!("{:032x}", random.u128(..))),
        status: Some(if failed { QueryStatus::SuccessfulWithNonfatalErrors } else { QueryStatus::Successful }.into()),
        ..QueryMessagePubSub::default()
    });
}

fn columns(namespace: &Namespace) -> Vec<String> {
    namespace.features.iter().map(|feature| feature.name.to_owned()).collect()
}

pub(super) fn table(namespace: &str, rows: v1::Rows) -> v1::FeatureTable {
    v1::FeatureTable { namespace: namespace.to_owned(), body: Some(v1::feature_table::Body::Rows(rows)) }
}

/// Users have numbers, the others names.
fn id_of(namespace: &Namespace, entity: u64) -> v1::row::Id {
    if namespace.name == USER.name {
        v1::row::Id::IntId(entity as i64)
    } else {
        v1::row::Id::TextId(format!("{}{entity:06}", &namespace.name[..1]))
    }
}

/// A user's latest transactions, a table of their own.
fn has_many(random: &mut fastrand::Rng, entities: u64, time: i64) -> v1::FeatureTable {
    let mut rows = v1::Rows { columns: columns(&TRANSACTION), rows: Vec::new() };
    let first = random.u64(..entities);
    for at in 0..random.u64(1..6) {
        let id = id_of(&TRANSACTION, (first + at) % entities);
        if rows.rows.iter().all(|row| row.id.as_ref() != Some(&id)) {
            rows.rows.push(row(&TRANSACTION, id, random, time));
        }
    }
    table(TRANSACTION.name, rows)
}

/// A row: most values computed, some from the cache, some null, a few defaults.
fn row(namespace: &Namespace, id: v1::row::Id, random: &mut fastrand::Rng, time: i64) -> v1::Row {
    let mut row = v1::Row { id: Some(id), ..v1::Row::default() };
    for feature in namespace.features {
        let (kind, source) = match random.u8(..100) {
            0..5 => (Kind::NullValue(0), v1::SourceType::Resolver),
            5..8 => (draw(feature.draw, random, time), v1::SourceType::Default),
            8..25 => (draw(feature.draw, random, time), v1::SourceType::OnlineStore),
            _ => (draw(feature.draw, random, time), v1::SourceType::Resolver),
        };
        row.values.push(v1::Value { kind: Some(kind) });
        row.meta.push(v1::Meta { source_type: source.into(), source_id: feature.resolver.to_owned() });
    }
    row
}

fn draw(how: Draw, random: &mut fastrand::Rng, time: i64) -> Kind {
    let letters = |random: &mut fastrand::Rng, count: usize| (0..count).map(|_| random.lowercase()).collect::<String>();
    match how {
        Draw::Count(below) => Kind::IntValue(random.i64(0..below)),
        Draw::Wide => Kind::IntValue(random.i64(..)),
        Draw::Score => Kind::DoubleValue(random.f64()),
        Draw::Amount(most) => Kind::DoubleValue((random.f64() * most * 100.0).round() / 100.0),
        Draw::Gauss => Kind::DoubleValue(gauss(random)),
        Draw::OneOf(texts) => Kind::StringValue(texts[random.usize(..texts.len())].to_owned()),
        Draw::Letters(count) => Kind::StringValue(letters(random, count)),
        Draw::Flag => Kind::BoolValue(random.bool()),
        Draw::Recent(days) => Kind::TimestampValue(timestamp(time - random.i64(0..days * 86_400_000_000))),
        Draw::Day => Kind::DateValue(time::format_date(random.i32(14_000..20_000))),
        Draw::Decimal => Kind::DecimalValue(format!("{}.{:02}", random.i32(0..100_000), random.u8(..100))),
        Draw::List(below) => {
            let items = (0..random.usize(..6)).map(|_| v1::Value { kind: Some(Kind::IntValue(random.i64(0..below))) });
            Kind::ListValue(v1::ListValue { items: items.collect() })
        }
        Draw::Embedding(dimension) => {
            let elements = (0..dimension).map(|_| random.f32() - 0.5).collect();
            let elements = v1::vector_value::Elements::Fp32(v1::SingleElements { elements });
            Kind::VectorValue(v1::VectorValue { elements: Some(elements) })
        }
        Draw::Address => {
            let field = |name: &str, kind| v1::StructField {
                name: name.to_owned(),
                value: Some(v1::Value { kind: Some(kind) }),
            };
            let street = format!("{} {} St", random.u16(1..400), letters(random, 6));
            let fields = vec![
                field("street", Kind::StringValue(street)),
                field("country", Kind::StringValue(COUNTRIES[random.usize(..COUNTRIES.len())].to_owned())),
                field("zip", Kind::IntValue(random.i64(10_000..99_999))),
            ];
            Kind::StructValue(v1::StructValue { fields })
        }
    }
}

/// The sum of twelve uniform variates less six: normal enough, and the same on every machine, which
/// a logarithm is not.
fn gauss(random: &mut fastrand::Rng) -> f64 {
    (0..12).map(|_| random.f64()).sum::<f64>() - 6.0
}

fn resolver_runs(namespace: &Namespace, random: &mut fastrand::Rng, failed: bool) -> Vec<v1::ResolverRun> {
    let mut runs: Vec<v1::ResolverRun> = Vec::new();
    for feature in namespace.features {
        if runs.iter().any(|run| run.resolver == feature.resolver) {
            continue;
        }
        let failed = failed && runs.is_empty();
        let status = if failed { v1::ResolverStatus::Failure } else { v1::ResolverStatus::Success };
        runs.push(v1::ResolverRun {
            resolver: feature.resolver.to_owned(),
            kind: v1::ResolverKind::Online.into(),
            status: status.into(),
            duration_seconds: f64::from(random.u32(50..8000)) / 1e6,
            rows: i64::from(!failed),
        });
    }
    runs
}

fn error(namespace: &Namespace, random: &mut fastrand::Rng) -> ChalkError {
    let feature = &namespace.features[random.usize(..namespace.features.len())];
    ChalkError {
        code: ErrorCode::ResolverTimedOut.into(),
        category: ErrorCodeCategory::Field.into(),
        message: format!("{} timed out after 2s", feature.resolver),
        feature: Some(feature.name.to_owned()),
        resolver: Some(feature.resolver.to_owned()),
        ..ChalkError::default()
    }
}

/// An error of a whole query.
pub(super) fn query_error(random: &mut fastrand::Rng) -> ChalkError {
    let (code, category, message) = [
        (ErrorCode::ParseFailed, ErrorCodeCategory::Request, "query names a feature that does not exist"),
        (ErrorCode::InvalidQuery, ErrorCodeCategory::Request, "no resolver computes `user.tier` from `user.id`"),
        (ErrorCode::InternalServerErrorUnspecified, ErrorCodeCategory::NetworkUnspecified, "connection reset by peer"),
    ][random.usize(..3)];
    ChalkError { code: code.into(), category: category.into(), message: message.to_owned(), ..ChalkError::default() }
}

/// An error of a resolver of a result's query.
pub(super) fn resolver_error(result: &v1::QueryResult, random: &mut fastrand::Rng) -> ChalkError {
    let of_result = |known: &&Namespace| result.tables.first().is_some_and(|table| table.namespace == known.name);
    error([&USER, &MERCHANT].into_iter().find(of_result).unwrap_or(&TRANSACTION), random)
}

/// The row of a numbered message.
pub(super) fn numbered_row(number: u64, entity: u64, observed_at: pbjson_types::Timestamp) -> v1::Row {
    v1::Row {
        id: Some(v1::row::Id::IntId(entity as i64)),
        observed_at: Some(observed_at),
        values: vec![v1::Value { kind: Some(Kind::IntValue(number as i64)) }],
        meta: Vec::new(),
    }
}
