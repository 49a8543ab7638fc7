//! AWS Secrets Manager. Where it is and who we are to it is found as every AWS client finds it: the environment
//! (`AWS_REGION`, `AWS_ENDPOINT_URL_SECRETS_MANAGER`, …), profiles, the role of the pod, the task or the machine.
//!
//! AWS's library reads a file of credentials once, and signs with the key in it for as long as the process lives. A key
//! that was replaced in a mounted file, and deleted, still signs: only the service tells that it counts no more. So all
//! that was made of the file is made anew then.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials as _;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::Builder;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use secrecy::SecretString;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Reads, SecretError, Trouble};
use crate::causes::{causes, in_full};

/// The longest that one read takes, with all that the SDK repeats by itself.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// Between two readings of settings at the least: many reads are refused at once, and all for the same credentials.
const LOADED_EVERY: Duration = Duration::from_secs(5);

/// What AWS answers to whom it does not know, or no longer.
const NOT_TAKEN: [&str; 7] = [
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
];

/// A client of it, made when it is first asked.
#[derive(Default)]
pub(super) struct Aws {
    loaded: Mutex<Option<Loaded>>,
}

/// What AWS's own settings say, credentials included, and what was made of them.
struct Loaded {
    at: Instant,
    /// The credentials are not taken, or there are none.
    refused: bool,
    settings: SdkConfig,
    /// By region; an ARN may be of another than ours.
    clients: HashMap<String, Client>,
}

/// What one read is made with.
struct Used {
    client: Client,
    region: String,
    settings: SdkConfig,
}

/// How a secret is named.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name<'a> {
    /// As the service takes it.
    id: &'a str,
    /// The region that an ARN is of.
    region: Option<&'a str>,
}

impl<'a> Name<'a> {
    pub(super) fn of(name: &'a str) -> Result<Self, String> {
        if !name.starts_with("arn:") {
            // What the service takes; said here, nobody has to ask for it.
            let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@-!".contains(&byte);
            if name.is_empty() || name.len() > 512 || !name.bytes().all(sound) {
                return Err("is no name of AWS Secrets Manager: letters, digits and /_+=.@-! (or an ARN)".to_owned());
            }
            return Ok(Self { id: name, region: None });
        }
        let parts: Vec<&str> = name.splitn(7, ':').collect();
        match *parts {
            ["arn", partition, "secretsmanager", region, account, "secret", id]
                if ![partition, region, account, id].contains(&"") =>
            {
                Ok(Self { id: name, region: Some(region) })
            }
            _ => Err("is no ARN of a secret: arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-XXXXXX".to_owned()),
        }
    }
}

impl Loaded {
    /// What is in force; loaded now where there is nothing yet, or where the credentials were refused. Cancel-safe: what
    /// was there stays until there is something newer.
    async fn current(known: &mut Option<Self>) -> &mut Self {
        if known.as_ref().is_none_or(Self::is_over) {
            let region = known.as_ref().and_then(|known| known.settings.region().cloned());
            *known = Some(Self::load(region).await);
        }
        known.as_mut().expect("loaded just now, or before")
    }

    /// A region that is known is not looked for again: where the machine tells it and does not answer now, there would be
    /// none, which ends the process.
    async fn load(region: Option<Region>) -> Self {
        let loader = aws_config::defaults(BehaviorVersion::latest());
        let settings = match region {
            Some(region) => loader.region(region).load().await,
            None => loader.load().await,
        };
        Self { at: Instant::now(), refused: false, settings, clients: HashMap::new() }
    }

    fn is_over(&self) -> bool {
        self.refused && self.at.elapsed() >= LOADED_EVERY
    }
}

impl Aws {
    async fn settings(&self) -> SdkConfig {
        let mut known = self.loaded.lock().await;
        Loaded::current(&mut known).await.settings.clone()
    }

    async fn used(&self, region: Option<&str>) -> Result<Used, String> {
        let mut known = self.loaded.lock().await;
        let loaded = Loaded::current(&mut known).await;
        let settings = &loaded.settings;
        let Some(region) = region.or_else(|| settings.region().map(Region::as_ref)) else {
            return Err("secret_client AWS needs a region; set AWS_REGION, or name the secret by its ARN".to_owned());
        };
        let client = loaded.clients.entry(region.to_owned()).or_insert_with(|| {
            let timeouts = TimeoutConfig::builder().operation_timeout(ANSWERS_WITHIN).build();
            let own = Builder::from(settings).region(Region::new(region.to_owned())).timeout_config(timeouts);
            Client::from_conf(own.build())
        });
        Ok(Used { client: client.clone(), region: region.to_owned(), settings: settings.clone() })
    }

    /// The next read looks for others, unless that was just done.
    async fn credentials_are_refused(&self) {
        if let Some(loaded) = self.loaded.lock().await.as_mut() {
            loaded.refused = true;
        }
    }
}

#[async_trait]
impl Reads for Aws {
    async fn read(&self, name: &str) -> Result<SecretString, SecretError> {
        let never = |what: String| SecretError::new(Trouble::Never, name, what);
        let Name { id, region } = Name::of(name).map_err(never)?;
        let Used { client, region, settings } = self.used(region).await.map_err(never)?;
        let answer = match client.get_secret_value().secret_id(id).send().await {
            Ok(answer) => answer,
            Err(error) => {
                let (trouble, what) = explain(&error, &region);
                if is_about_credentials(error.code().unwrap_or_default(), unfound(&error)) {
                    self.credentials_are_refused().await;
                }
                let who = match trouble {
                    Trouble::Denied => format!("; asked by {}", identity(&settings).await),
                    _ => String::new(),
                };
                return Err(SecretError::new(trouble, name, format!("secret_client AWS: {what}{who}")));
            }
        };
        let binary = || answer.secret_binary.as_ref().map(|bytes| String::from_utf8(bytes.as_ref().to_vec()));
        match (answer.secret_string, binary()) {
            (Some(text), _) | (None, Some(Ok(text))) => Ok(text.into()),
            (None, Some(Err(_))) => Err(SecretError::new(Trouble::Denied, name, "its bytes are not UTF-8")),
            (None, None) => Err(SecretError::new(Trouble::Denied, name, "it has no value")),
        }
    }

    async fn who(&self) -> String {
        identity(&self.settings().await).await
    }
}

/// Who we are by these settings, for people.
async fn identity(settings: &SdkConfig) -> String {
    let Some(provider) = settings.credentials_provider() else { return "nobody".to_owned() };
    match provider.provide_credentials().await {
        Ok(found) => {
            let account = found.account_id().map(|id| format!(" of account {}", id.as_str())).unwrap_or_default();
            format!("access key `{}`{account}", found.access_key_id())
        }
        Err(error) => format!("nobody ({})", in_full(&error)),
    }
}

/// Why there were no credentials to ask with, where that is what failed.
fn unfound(error: &SdkError<GetSecretValueError>) -> Option<&CredentialsError> {
    causes(error).find_map(|cause| cause.downcast_ref::<CredentialsError>())
}

/// Whether other credentials may help, which may be there by now. The library also keeps for good that a file of
/// credentials was not there or half written, and the key that it asks for a role with; time that ran out says nothing.
fn is_about_credentials(code: &str, unfound: Option<&CredentialsError>) -> bool {
    let is_final = |error: &CredentialsError| !matches!(error, CredentialsError::ProviderTimedOut(_));
    NOT_TAKEN.contains(&code) || unfound.is_some_and(is_final)
}

/// What became of a read, and what to do.
fn explain(error: &SdkError<GetSecretValueError>, region: &str) -> (Trouble, String) {
    let code = error.code().unwrap_or_default();
    let said = error.message().unwrap_or_default();
    let denied = |what: &str| (Trouble::Denied, format!("{what} ({code}: {said})"));
    match code {
        "" => {}
        "ResourceNotFoundException" => {
            return denied(&format!("there is no such secret in {region}, or it has no value"));
        }
        "AccessDeniedException" | "DecryptionFailure" | "KMSAccessDeniedException" => {
            return denied(missing_right(code, said));
        }
        _ if NOT_TAKEN.contains(&code) => return denied("AWS does not take these credentials"),
        "InvalidRequestException" | "InvalidParameterException" | "ValidationException" => {
            return denied("it cannot be read as it is, such as one that is to be deleted");
        }
        _ => return (Trouble::Away, format!("not now ({code}: {said})")),
    }
    let why = in_full(error);
    // The SDK's own words say only that it failed; the reason is behind them.
    match unfound(error) {
        None => (Trouble::Away, format!("no answer: {why}")),
        Some(CredentialsError::ProviderTimedOut(_)) => (Trouble::Away, format!("no credentials in time: {why}")),
        // Such as an answer 503 of STS: what was read before is still good.
        Some(CredentialsError::ProviderError(_)) => (Trouble::Away, format!("no credentials now: {why}")),
        Some(_) => {
            let text = format!("no AWS credentials are found in the environment, a profile, or by a role: {why}");
            (Trouble::Denied, text)
        }
    }
}

/// Which right is missing. What KMS refuses is said with the service's own code too (`Access to KMS is not allowed`), and only the text
/// tells.
fn missing_right(code: &str, said: &str) -> &'static str {
    if code != "AccessDeniedException" || said.contains("KMS") || said.contains("kms:") {
        "the right `kms:Decrypt` is missing on the key that it is encrypted with"
    } else {
        "the right `secretsmanager:GetSecretValue` is missing on it"
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[test]
    fn what_the_key_does_not_allow_is_told_from_what_the_secret_does_not() {
        let user = "User: arn:aws:sts::1:assumed-role/writer/pod is not authorized to perform:";
        for (code, said, right) in [
            ("AccessDeniedException", "Access to KMS is not allowed", "kms:Decrypt"),
            ("AccessDeniedException", &format!("{user} kms:Decrypt on this resource"), "kms:Decrypt"),
            (
                "AccessDeniedException",
                &format!("{user} secretsmanager:GetSecretValue on resource: db"),
                "GetSecretValue",
            ),
            ("DecryptionFailure", "", "kms:Decrypt"),
        ] {
            assert!(missing_right(code, said).contains(right), "{code}: {said}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refused_credentials_are_read_again_and_not_all_the_time() {
        let begun = Instant::now();
        let settings = SdkConfig::builder().region(Region::new("eu-west-1")).build();
        let mut known = Some(Loaded { at: begun, refused: true, settings, clients: HashMap::new() });
        assert_eq!(Loaded::current(&mut known).await.at, begun, "just read: the refusal is of the ones before");
        advance(LOADED_EVERY).await;
        let again = Loaded::current(&mut known).await;
        assert_eq!((again.at, again.refused), (begun + LOADED_EVERY, false));
        assert_eq!(again.settings.region().map(Region::as_ref), Some("eu-west-1"), "nobody has to be asked for it");
        advance(10 * LOADED_EVERY).await;
        assert_eq!(Loaded::current(&mut known).await.at, begun + LOADED_EVERY, "nobody refuses them");
    }

    #[test]
    fn other_credentials_are_looked_for_where_they_may_help() {
        for code in [
            "UnrecognizedClientException",
            "InvalidClientTokenId",
            "InvalidSignatureException",
            "ExpiredTokenException",
        ] {
            assert!(is_about_credentials(code, None), "{code}");
        }
        for code in ["", "AccessDeniedException", "ResourceNotFoundException", "ThrottlingException"] {
            assert!(!is_about_credentials(code, None), "{code}");
        }
        let unfound = |error: CredentialsError| is_about_credentials("", Some(&error));
        assert!(unfound(CredentialsError::not_loaded_no_source()));
        assert!(unfound(CredentialsError::invalid_configuration("half a file")));
        assert!(unfound(CredentialsError::provider_error("STS: InvalidClientTokenId")));
        assert!(!unfound(CredentialsError::provider_timed_out(ANSWERS_WITHIN)));
    }

    #[test]
    fn a_secret_has_a_name_or_an_arn_which_has_a_region() {
        let arn = "arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:prod/redis-AbCdEf";
        assert_eq!(Name::of(arn), Ok(Name { id: arn, region: Some("cn-north-1") }));
        assert_eq!(Name::of("prod/redis"), Ok(Name { id: "prod/redis", region: None }));
        for wrong in [
            "",
            "a secret",
            "arn:aws:secretsmanager:eu-west-1:1:secret",
            "arn:aws:secretsmanager::1:secret:a",
            "arn:aws:ssm:eu-west-1:1:secret:a",
            "projects:p",
        ] {
            assert!(Name::of(wrong).is_err(), "{wrong}");
        }
    }
}
