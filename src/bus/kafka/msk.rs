//! Who we are, for Amazon MSK with IAM: a request to the cluster that is signed and never sent, as the token of SASL's
//! OAUTHBEARER.
//!
//! The format is that of Amazon's own signers (`aws-msk-iam-sasl-signer`): an address that is signed by its query,
//! valid for 15 minutes, in URL-safe base64 without padding. Credentials are found as every AWS client finds them.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use tokio::runtime::Handle;

use crate::bus::BusError;
use crate::causes::in_full;

/// The value of `kafka_sasl_mechanism` that asks for this.
pub(super) const MECHANISM: &str = "AWS_MSK_IAM";

/// How long a token holds, the longest that MSK takes. librdkafka asks for the next one after four fifths of it.
const HOLDS_FOR: Duration = Duration::from_secs(900);

/// Whose request the broker takes it for; it shows in the cluster's logs.
const USER_AGENT: &str = concat!("chalk-writer%2F", env!("CARGO_PKG_VERSION"));

/// Said where AWS's own settings lead to no credentials.
const NO_WAY: &str = "AWS_MSK_IAM needs AWS credentials, and no way to them is set";

/// What makes tokens for one region.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    region: String,
    /// Forgotten where they were refused or could not be had, and looked for again: the SDK reads a file once, and keeps what it found.
    credentials: Arc<Mutex<Option<SharedCredentialsProvider>>>,
    /// Credentials may have to be fetched, while librdkafka waits on a thread of its own.
    runtime: Handle,
}

impl Tokens {
    /// For these brokers: of the region that their names are in, or else of the one that AWS's own settings name.
    pub(super) async fn of(brokers: &str) -> Result<Self, BusError> {
        let loader = aws_config::defaults(BehaviorVersion::latest());
        let config = match region(brokers) {
            Some(region) => loader.region(Region::new(region.to_owned())).load().await,
            None => loader.load().await,
        };
        let region = config.region().ok_or_else(|| {
            BusError::Settings(format!(
                "{MECHANISM} signs for a region, which is neither in the names of the brokers ({brokers}) nor in AWS_REGION"
            ))
        })?;
        let credentials = config.credentials_provider().ok_or_else(|| BusError::Settings(NO_WAY.to_owned()))?;
        let credentials = Arc::new(Mutex::new(Some(credentials)));
        Ok(Self { region: region.to_string(), credentials, runtime: Handle::current() })
    }

    /// What was signed with was refused: a key may have been replaced where it was read.
    pub(super) fn forget(&self) {
        *self.credentials.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Where credentials come from, looked for anew where that was forgotten. Blocks.
    fn provider(&self) -> Result<SharedCredentialsProvider, Box<dyn Error>> {
        let mut known = self.credentials.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*known {
            return Ok(known.clone());
        }
        let region = Region::new(self.region.clone());
        let loader = aws_config::defaults(BehaviorVersion::latest()).region(region);
        let found = self.runtime.block_on(loader.load()).credentials_provider().ok_or(NO_WAY)?;
        *known = Some(found.clone());
        Ok(found)
    }

    /// A token that holds from now on. Blocks while credentials are fetched.
    pub(super) fn token(&self) -> Result<OAuthToken, Box<dyn Error>> {
        let provider = self.provider()?;
        let credentials = self.runtime.block_on(provider.provide_credentials()).map_err(|error| {
            self.forget();
            // The SDK's own words say only that it failed; the reason is behind them.
            format!("no AWS credentials for {MECHANISM}: {}", in_full(&error))
        })?;
        let now = SystemTime::now();
        let address = address(&self.region, credentials.clone(), now)?;
        let ends = now.duration_since(UNIX_EPOCH)? + HOLDS_FOR;
        Ok(OAuthToken {
            token: URL_SAFE_NO_PAD.encode(format!("{address}&User-Agent={USER_AGENT}")),
            principal_name: credentials.access_key_id().to_owned(),
            lifetime_ms: i64::try_from(ends.as_millis())?,
        })
    }
}

/// The region of brokers that Amazon runs: `b-1.name.abc.c2.kafka.us-east-1.amazonaws.com:9098`, and
/// `boot-abc.c1.kafka-serverless.us-east-1.amazonaws.com:9098`.
fn region(brokers: &str) -> Option<&str> {
    brokers.split(',').find_map(|broker| {
        let host = broker.split(':').next()?;
        let mut labels = host.split('.').skip_while(|label| !matches!(*label, "kafka" | "kafka-serverless")).skip(1);
        let region = labels.next()?;
        (labels.next() == Some("amazonaws")).then_some(region)
    })
}

/// The signed address.
fn address(region: &str, credentials: Credentials, now: SystemTime) -> Result<String, Box<dyn Error>> {
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(HOLDS_FOR);
    let identity = credentials.into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("kafka-cluster")
        .time(now)
        .settings(settings)
        .build()?
        .into();
    let mut address = format!("https://kafka.{region}.amazonaws.com/?Action=kafka-cluster%3AConnect");
    let request = SignableRequest::new("GET", &address, std::iter::empty(), SignableBody::Bytes(&[]))?;
    let (instructions, _) = sign(request, &parameters)?.into_parts();
    let signed = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(instructions.params()).finish();
    address.push('&');
    address.push_str(&signed);
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Amazon's signer for Python (`aws-msk-iam-sasl-signer-python` 1.0.2, botocore 1.40) makes of the example
    /// credentials of AWS's documentation at this time, by parts of the query.
    #[test]
    fn an_address_is_signed_as_amazons_own_signer_signs_it() {
        let at = UNIX_EPOCH + Duration::from_secs(1_767_323_045);
        for (session, signature) in [
            (None, "6d77a954b60635c5ba91a2b9c8517b498715e1a7851b71b0c743390168a7b891"),
            (Some("session/token+with=signs"), "6fcf724cf8cbf517140a3ccd3c7d6980b987ce02a494bb4563669e35533fe555"),
        ] {
            let credentials = Credentials::new(
                "AKIAIOSFODNN7EXAMPLE",
                "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                session.map(str::to_owned),
                None,
                "example",
            );
            let address = address("us-west-2", credentials, at).unwrap();
            let (host, query) = address.split_once('?').unwrap();
            assert_eq!(host, "https://kafka.us-west-2.amazonaws.com/");
            let mut parts: Vec<&str> = query.split('&').collect();
            parts.sort_unstable();
            let signature = format!("X-Amz-Signature={signature}");
            let mut expected = vec![
                "Action=kafka-cluster%3AConnect",
                "X-Amz-Algorithm=AWS4-HMAC-SHA256",
                "X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260102%2Fus-west-2%2Fkafka-cluster%2Faws4_request",
                "X-Amz-Date=20260102T030405Z",
                "X-Amz-Expires=900",
                "X-Amz-SignedHeaders=host",
                &signature,
            ];
            expected.extend(session.map(|_| "X-Amz-Security-Token=session%2Ftoken%2Bwith%3Dsigns"));
            expected.sort_unstable();
            assert_eq!(parts, expected);
        }
    }

    #[test]
    fn the_region_is_read_from_the_names_of_brokers() {
        for (brokers, expected) in [
            ("b-1.name.abc.c2.kafka.us-east-1.amazonaws.com:9098", Some("us-east-1")),
            ("b-1.name.abc.c2.kafka.cn-north-1.amazonaws.com.cn:9098", Some("cn-north-1")),
            ("boot-abc.c1.kafka-serverless.eu-central-1.amazonaws.com:9098", Some("eu-central-1")),
            ("kafka.internal:9098,b-1.name.abc.c2.kafka.eu-west-3.amazonaws.com:9098", Some("eu-west-3")),
            ("kafka.us-east-1.example.com:9098", None),
            ("127.0.0.1:9098", None),
        ] {
            assert_eq!(region(brokers), expected, "{brokers}");
        }
    }
}
