//! AWS Secrets Manager. Where it is and who we are to it is found as every AWS client finds it: the environment
//! (`AWS_REGION`, `AWS_ENDPOINT_URL_SECRETS_MANAGER`, …), profiles, the role of the pod, the task or the machine.

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
use tokio::sync::{Mutex, OnceCell};

use super::{Reads, SecretError, Trouble};
use crate::causes::{causes, in_full};

/// The longest that one read takes, with all that the SDK repeats by itself.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// A client of it, made when it is first asked.
#[derive(Default)]
pub(super) struct Aws {
    settings: OnceCell<SdkConfig>,
    /// By region; an ARN may be of another than ours.
    clients: Mutex<HashMap<String, Client>>,
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

impl Aws {
    async fn settings(&self) -> &SdkConfig {
        self.settings.get_or_init(|| aws_config::defaults(BehaviorVersion::latest()).load()).await
    }

    async fn client(&self, region: Option<&str>) -> Result<(Client, String), String> {
        let settings = self.settings().await;
        let Some(region) = region.or_else(|| settings.region().map(Region::as_ref)) else {
            return Err("secret_client AWS needs a region; set AWS_REGION, or name the secret by its ARN".to_owned());
        };
        let mut clients = self.clients.lock().await;
        let client = clients.entry(region.to_owned()).or_insert_with(|| {
            let timeouts = TimeoutConfig::builder().operation_timeout(ANSWERS_WITHIN).build();
            let own = Builder::from(settings).region(Region::new(region.to_owned())).timeout_config(timeouts);
            Client::from_conf(own.build())
        });
        Ok((client.clone(), region.to_owned()))
    }
}

#[async_trait]
impl Reads for Aws {
    async fn read(&self, name: &str) -> Result<SecretString, SecretError> {
        let never = |what: String| SecretError::new(Trouble::Never, name, what);
        let Name { id, region } = Name::of(name).map_err(never)?;
        let (client, region) = self.client(region).await.map_err(never)?;
        let answer = match client.get_secret_value().secret_id(id).send().await {
            Ok(answer) => answer,
            Err(error) => {
                let (trouble, what) = explain(&error, &region);
                let who =
                    if trouble == Trouble::Denied { format!("; asked by {}", self.who().await) } else { String::new() };
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
        let Some(provider) = self.settings().await.credentials_provider() else { return "nobody".to_owned() };
        match provider.provide_credentials().await {
            Ok(found) => {
                let account = found.account_id().map(|id| format!(" of account {}", id.as_str())).unwrap_or_default();
                format!("access key `{}`{account}", found.access_key_id())
            }
            Err(error) => format!("nobody ({})", in_full(&error)),
        }
    }
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
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "InvalidClientTokenId"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException" => {
            return denied("AWS does not take these credentials");
        }
        "InvalidRequestException" | "InvalidParameterException" | "ValidationException" => {
            return denied("it cannot be read as it is, such as one that is to be deleted");
        }
        _ => return (Trouble::Away, format!("not now ({code}: {said})")),
    }
    let why = in_full(error);
    // The SDK's own words say only that it failed; the reason is behind them.
    match causes(error).find_map(|cause| cause.downcast_ref::<CredentialsError>()) {
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
