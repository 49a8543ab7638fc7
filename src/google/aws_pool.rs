//! An identity of AWS's as one of Google's, through an identity pool that trusts the AWS account.
//!
//! The proof is a request to AWS's STS, `GetCallerIdentity`, that is signed here and sent by Google
//! ([AIP-4117](https://google.aip.dev/auth/4117)). Google's library can make one by itself, from AWS's environment
//! variables or the role of the machine; a pod of EKS or a task of ECS has neither. So AWS's own SDK finds the
//! credentials, wherever that finds some (roles of pods and tasks, profiles, SSO), and the library does the rest.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use google_cloud_auth::credentials::Credentials;
use google_cloud_auth::credentials::external_account::ProgrammaticBuilder;
use google_cloud_auth::credentials::subject_token::{Builder, SubjectToken, SubjectTokenProvider};
use google_cloud_auth::errors::SubjectTokenProviderError;
use serde_json::json;
use tokio::sync::OnceCell;
use url::form_urlencoded::byte_serialize;

use super::adc::Adc;
use super::{NoIdentity, SCOPE};
use crate::causes::in_full;

pub(super) const NO_FILE: &str = "`use_aws_pool_for_google_adc` needs the file that describes the pool, and no file of \
     credentials is there; make one with `gcloud iam workload-identity-pools create-cred-config … --aws` and name it in \
     GOOGLE_APPLICATION_CREDENTIALS";

/// The kind of token that a pool with a provider for AWS takes.
const TOKEN_TYPE: &str = "urn:ietf:params:aws:token-type:aws4_request";

/// Where the proof is for, unless the file says otherwise.
const VERIFIED_BY: &str = "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15";

/// The header that ties a proof to one pool.
const FOR_POOL: &str = "x-goog-cloud-target-resource";

/// Credentials as the file describes them.
pub(super) fn credentials(adc: &Adc) -> Result<Credentials, NoIdentity> {
    credentials_of(adc, OnceCell::new())
}

/// The same of what AWS knows, where that is known already.
pub(super) fn credentials_of(adc: &Adc, aws: OnceCell<SdkConfig>) -> Result<Credentials, NoIdentity> {
    let wrong = |what: &str| {
        NoIdentity(format!(
            "{} {what}; `use_aws_pool_for_google_adc` takes the file of an identity pool with a provider for AWS \
             (`gcloud iam workload-identity-pools create-cred-config … --aws`)",
            adc.path()
        ))
    };
    if adc.text("type") != Some("external_account") {
        return Err(wrong(&format!("is of type `{}`", adc.text("type").unwrap_or("?"))));
    }
    let audience = adc.text("audience").ok_or_else(|| wrong("has no `audience`"))?;
    if let Some(kind) = adc.text("subject_token_type").filter(|kind| *kind != TOKEN_TYPE) {
        return Err(wrong(&format!("is of a provider for `{kind}`")));
    }
    let verified_by = adc.source("regional_cred_verification_url").unwrap_or(VERIFIED_BY).to_owned();
    let proofs = Proofs { audience: audience.to_owned(), verified_by, aws };
    let mut builder = ProgrammaticBuilder::new(Arc::new(proofs))
        .with_audience(audience)
        .with_subject_token_type(TOKEN_TYPE)
        .with_scopes([SCOPE]);
    if let Some(url) = adc.text("token_url") {
        builder = builder.with_token_url(url);
    }
    match (adc.impersonates(), adc.text("service_account_impersonation_url")) {
        (Some(account), _) => builder = builder.with_target_principal(account),
        (None, Some(_)) => return Err(wrong("has a `service_account_impersonation_url` that names no account")),
        (None, None) => {}
    }
    builder.build().map_err(|error| NoIdentity(format!("{} cannot be used: {}", adc.path(), in_full(&error))))
}

/// What makes proofs for one pool.
struct Proofs {
    audience: String,
    verified_by: String,
    aws: OnceCell<SdkConfig>,
}

impl fmt::Debug for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Proofs").field(&self.audience).finish()
    }
}

/// There is no proof.
#[derive(Debug, thiserror::Error)]
#[error("no proof for Google of who this is to AWS: {reason}")]
struct NoProof {
    reason: String,
    may_pass: bool,
}

impl SubjectTokenProviderError for NoProof {
    fn is_transient(&self) -> bool {
        self.may_pass
    }
}

impl SubjectTokenProvider for Proofs {
    type Error = NoProof;

    async fn subject_token(&self) -> Result<SubjectToken, NoProof> {
        let never = |reason: String| NoProof { reason, may_pass: false };
        let aws = self.aws.get_or_init(|| aws_config::defaults(BehaviorVersion::latest()).load()).await;
        let region = aws.region().ok_or_else(|| never("no region; set AWS_REGION".to_owned()))?;
        let provider =
            aws.credentials_provider().ok_or_else(|| never("no way to AWS credentials is set".to_owned()))?;
        let credentials = provider.provide_credentials().await;
        let credentials = credentials.map_err(|error| NoProof { reason: in_full(&error), may_pass: true })?;
        let token = self.proof(region, credentials, SystemTime::now()).map_err(never)?;
        Ok(Builder::new(token).build())
    }
}

impl Proofs {
    fn proof(
        &self,
        region: &Region,
        credentials: aws_credential_types::Credentials,
        now: SystemTime,
    ) -> Result<String, String> {
        let url = self.verified_by.replace("{region}", region.as_ref());
        let url = url::Url::parse(&url).map_err(|error| format!("`regional_cred_verification_url`: {error}"))?;
        let host = url.host_str().ok_or("`regional_cred_verification_url` names no host")?.to_owned();
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(region.as_ref())
            .name("sts")
            .time(now)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| error.to_string())?;
        let own = [("host", host.as_str()), (FOR_POOL, self.audience.as_str())];
        let request = SignableRequest::new("POST", url.as_str(), own.into_iter(), SignableBody::Bytes(&[]));
        let request = request.map_err(|error| error.to_string())?;
        let (signed, _) = sign(request, &parameters.into()).map_err(|error| error.to_string())?.into_parts();
        let headers = own.into_iter().chain(signed.headers());
        let headers: Vec<_> = headers.map(|(key, value)| json!({"key": key, "value": value})).collect();
        let request = json!({"url": url.as_str(), "method": "POST", "headers": headers, "body": ""});
        Ok(byte_serialize(request.to_string().as_bytes()).collect())
    }
}
