//! Words out of a fixed set, in any letter case, with or without the prefix that their proto enum has.

use serde_json::Value;

use super::errors::Problem;
use super::found::found;
use super::settings::{CacheStrategy, OfflineMode, OnError, OnGap};
use crate::nearest::hint;
use crate::value::Metric;

/// A word out of a fixed set.
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// Name of the set.
    const NAME: &'static str;
    /// Prefix of the proto enum's values; a set that has one is read by number too, in the order of `ALL`.
    const PREFIX: &'static str = "";
    /// The words as they are documented.
    const ALL: &'static [(&'static str, Self)];

    /// The choice of a word.
    fn parse(text: &str) -> Result<Self, Problem> {
        let given = plain(text);
        let given = given.strip_prefix(Self::PREFIX).unwrap_or(&given);
        Self::ALL.iter().find(|(word, _)| plain(word) == given).map(|(_, choice)| *choice).ok_or_else(|| {
            Problem::UnknownValue { found: found(&Value::from(text)), hint: hint(text.trim(), &listed::<Self>()) }
        })
    }

    /// The documented word.
    fn word(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(word, choice)| *choice == self && *word != "UNSPECIFIED")
            .map_or("UNSPECIFIED", |(word, _)| word)
    }
}

/// The words of a set, for people.
pub(super) fn listed<C: Choice>() -> Vec<&'static str> {
    C::ALL.iter().map(|(word, _)| *word).filter(|word| *word != "UNSPECIFIED").collect()
}

fn plain(text: &str) -> String {
    text.trim().to_ascii_uppercase().replace('-', "_")
}

/// `bus_backend`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BusBackend {
    Kafka,
    Pubsub,
    Local,
}

impl Choice for BusBackend {
    const NAME: &'static str = "bus backend";
    const ALL: &'static [(&'static str, Self)] =
        &[("KAFKA", Self::Kafka), ("PUBSUB", Self::Pubsub), ("LOCAL", Self::Local)];
}

/// `secret_client`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SecretClientName {
    Aws,
    Gcp,
    Env,
    File,
}

impl Choice for SecretClientName {
    const NAME: &'static str = "secret client";
    const ALL: &'static [(&'static str, Self)] =
        &[("AWS", Self::Aws), ("GCP", Self::Gcp), ("ENV", Self::Env), ("FILE", Self::File)];
}

/// `metadata_provider`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetadataProvider {
    Config,
    GrpcServer,
    Sql,
}

impl Choice for MetadataProvider {
    const NAME: &'static str = "metadata provider";
    const ALL: &'static [(&'static str, Self)] =
        &[("CONFIG", Self::Config), ("GRPC_SERVER", Self::GrpcServer), ("SQL", Self::Sql)];
}

/// `kafka_security_protocol`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SecurityProtocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl Choice for SecurityProtocol {
    const NAME: &'static str = "security protocol";
    const ALL: &'static [(&'static str, Self)] = &[
        ("PLAINTEXT", Self::Plaintext),
        ("SSL", Self::Ssl),
        ("SASL_PLAINTEXT", Self::SaslPlaintext),
        ("SASL_SSL", Self::SaslSsl),
    ];
}

/// `kafka_sasl_mechanism`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SaslMechanism {
    Plain,
    ScramSha256,
    ScramSha512,
    Gssapi,
    OauthBearer,
    AwsMskIam,
}

impl Choice for SaslMechanism {
    const NAME: &'static str = "sasl mechanism";
    const ALL: &'static [(&'static str, Self)] = &[
        ("PLAIN", Self::Plain),
        ("SCRAM-SHA-256", Self::ScramSha256),
        ("SCRAM-SHA-512", Self::ScramSha512),
        ("GSSAPI", Self::Gssapi),
        ("OAUTHBEARER", Self::OauthBearer),
        ("AWS_MSK_IAM", Self::AwsMskIam),
    ];
}

/// `mirror.body`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MirrorBodyName {
    Auto,
    Json,
    Feather,
}

impl Choice for MirrorBodyName {
    const NAME: &'static str = "mirror body";
    const ALL: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("json", Self::Json), ("feather", Self::Feather)];
}

impl Choice for OfflineMode {
    const NAME: &'static str = "offline mode";
    const ALL: &'static [(&'static str, Self)] = &[("direct", Self::Direct), ("republish", Self::Republish)];
}

/// `chalk_queries_clickhouse_write_mode`, `chalk_errors_clickhouse_write_mode`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClickHouseWriteMode {
    Unspecified,
    TimescaleOnly,
    Dual,
    ClickHouseOnly,
}

impl Choice for ClickHouseWriteMode {
    const NAME: &'static str = "clickhouse write mode";
    const PREFIX: &'static str = "BACKGROUND_PERSISTENCE_WRITER_CLICK_HOUSE_WRITE_MODE_";
    const ALL: &'static [(&'static str, Self)] = &[
        ("UNSPECIFIED", Self::Unspecified),
        ("TIMESCALE_ONLY", Self::TimescaleOnly),
        ("DUAL", Self::Dual),
        ("CLICK_HOUSE_ONLY", Self::ClickHouseOnly),
    ];
}

/// `metrics_emission_mode`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetricsEmissionMode {
    Unspecified,
    TimescaleOnly,
    DualWrite,
    VictoriaMetricsOnly,
}

impl Choice for MetricsEmissionMode {
    const NAME: &'static str = "metrics emission mode";
    const PREFIX: &'static str = "BACKGROUND_PERSISTENCE_WRITER_METRICS_EMISSION_MODE_";
    const ALL: &'static [(&'static str, Self)] = &[
        ("UNSPECIFIED", Self::Unspecified),
        ("TIMESCALE_ONLY", Self::TimescaleOnly),
        ("DUAL_WRITE", Self::DualWrite),
        ("VICTORIA_METRICS_ONLY", Self::VictoriaMetricsOnly),
    ];
}

impl Choice for OnError {
    const NAME: &'static str = "on error";
    const ALL: &'static [(&'static str, Self)] = &[
        ("abort", Self::Abort),
        ("skip_file", Self::SkipFile),
        // As Snowflake's COPY INTO has it.
        ("ABORT_STATEMENT", Self::Abort),
    ];
}

impl Choice for OnGap {
    const NAME: &'static str = "on gap";
    const ALL: &'static [(&'static str, Self)] = &[("continue", Self::Continue), ("stop", Self::Stop)];
}

impl Choice for Metric {
    const NAME: &'static str = "metric";
    const PREFIX: &'static str = "VECTOR_METRIC_";
    const ALL: &'static [(&'static str, Self)] =
        &[("UNSPECIFIED", Self::L2), ("l2", Self::L2), ("ip", Self::Ip), ("cos", Self::Cos)];
}

impl Choice for CacheStrategy {
    const NAME: &'static str = "cache strategy";
    const PREFIX: &'static str = "CACHE_STRATEGY_";
    const ALL: &'static [(&'static str, Self)] = &[
        ("UNSPECIFIED", Self::All),
        ("ALL", Self::All),
        ("NO_NULLS", Self::NoNulls),
        ("EVICT_NULLS", Self::EvictNulls),
        ("NO_DEFAULTS", Self::NoDefaults),
        ("EVICT_DEFAULTS", Self::EvictDefaults),
        ("NO_NULLS_OR_DEFAULTS", Self::NoNullsOrDefaults),
        ("EVICT_NULLS_AND_DEFAULTS", Self::EvictNullsAndDefaults),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::leaf::Leaf;

    #[test]
    fn words_are_read_in_any_case_with_or_without_their_prefix() {
        for text in ["SCRAM-SHA-512", "scram-sha-512", "SCRAM_SHA_512"] {
            assert_eq!(SaslMechanism::parse(text), Ok(SaslMechanism::ScramSha512));
        }
        for text in ["dual", "BACKGROUND_PERSISTENCE_WRITER_CLICK_HOUSE_WRITE_MODE_DUAL"] {
            assert_eq!(ClickHouseWriteMode::parse(text), Ok(ClickHouseWriteMode::Dual));
        }
        assert_eq!(ClickHouseWriteMode::read(&Value::from(3)), Ok(ClickHouseWriteMode::ClickHouseOnly));
        assert_eq!(MetadataProvider::parse("grpc_server"), Ok(MetadataProvider::GrpcServer));
        assert_eq!(CacheStrategy::parse("cache_strategy_no_nulls"), Ok(CacheStrategy::NoNulls));
        assert_eq!(CacheStrategy::NoNulls.word(), "NO_NULLS");
    }

    #[test]
    fn an_unknown_word_names_the_nearest() {
        assert_eq!(
            BusBackend::parse("KAFAK").expect_err("misspelt").to_string(),
            "unknown value \"KAFAK\"; did you mean `KAFKA`? known are KAFKA, PUBSUB, LOCAL"
        );
        assert!(BusBackend::read(&Value::from(1)).is_err(), "not a proto enum");
    }
}
