//! Files of credentials, and the proof that an identity pool gets.

use std::io::Write as _;

use std::sync::Arc;

use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials as AwsCredentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use axum::Router;
use axum::routing::post;
use google_cloud_auth::credentials::CacheableResource;
use serde_json::Value;
use tokio::sync::{Mutex, OnceCell};
use url::form_urlencoded;

use super::adc::Adc;
use super::*;

fn adc(text: &str) -> Result<Adc, NoIdentity> {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    Adc::read(file.path().to_owned(), true)
}

#[test]
fn a_file_says_who_it_is_for_and_shows_no_key() {
    let key =
        adc(r#"{"type": "service_account", "client_email": "w@p.iam", "project_id": "p", "private_key": "hunter2"}"#);
    let key = key.expect("a file");
    assert_eq!((key.who(false), key.project()), ("`w@p.iam`".to_owned(), Some("p".to_owned())));
    assert!(!format!("{key:?}").contains("hunter2"));
    let error = adc("hunter2").expect_err("no JSON").to_string();
    assert!(error.contains("GOOGLE_APPLICATION_CREDENTIALS") && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn the_file_of_a_pool_for_aws_is_taken_and_others_say_what_is_needed() {
    let pool = r#"{"type": "external_account", "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/a/providers/b",
        "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request", "token_url": "https://sts.googleapis.com/v1/token",
        "service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/w@p.iam:generateAccessToken",
        "credential_source": {"environment_id": "aws1"}}"#;
    let file = adc(pool).expect("a file");
    assert_eq!(file.who(true), "`w@p.iam`");
    aws_pool::credentials(&file).expect("it has all that is needed");
    for (text, word) in [
        (r#"{"type": "service_account"}"#, "is of type `service_account`"),
        (r#"{"type": "external_account"}"#, "has no `audience`"),
        (r#"{"type": "external_account", "audience": "a", "subject_token_type": "urn:jwt"}"#, "provider for `urn:jwt`"),
    ] {
        let error = aws_pool::credentials(&adc(text).expect("a file")).expect_err(word).to_string();
        assert!(error.contains(word) && error.contains("create-cred-config"), "{error}");
    }
}

/// What Google would be asked, and what it would send to AWS, by the published format (AIP-4117).
#[tokio::test]
async fn a_pool_gets_a_signed_question_to_aws_for_a_token() {
    let asked = Arc::new(Mutex::new(String::new()));
    let answer = {
        let asked = Arc::clone(&asked);
        async move |body: String| {
            *asked.lock().await = body;
            let text = r#"{"access_token": "google-token", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "token_type": "Bearer", "expires_in": 3600}"#;
            ([("content-type", "application/json")], text)
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/v1/token", post(answer))).await });
    let pool = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/a/providers/b";
    let file = adc(&format!(
        r#"{{"type": "external_account", "audience": "{pool}", "token_url": "http://{address}/v1/token",
            "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request", "credential_source": {{"environment_id": "aws1"}}}}"#
    ));
    let known = AwsCredentials::new("AKIATEST", "hunter2", Some("session".to_owned()), None, "test");
    let aws = SdkConfig::builder()
        .region(Region::new("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(known))
        .build();
    let credentials = aws_pool::credentials_of(&file.expect("a file"), OnceCell::new_with(Some(aws))).expect("sound");
    let headers = credentials.headers(axum::http::Extensions::new()).await.expect("a token");
    let CacheableResource::New { data, .. } = headers else { panic!("a first token") };
    assert_eq!(data["authorization"], "Bearer google-token");

    let body = asked.lock().await.clone();
    assert!(!body.contains("hunter2"), "{body}");
    let form: std::collections::BTreeMap<String, String> =
        form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    assert_eq!(form["audience"], pool);
    assert_eq!(form["subject_token_type"], "urn:ietf:params:aws:token-type:aws4_request");
    let token = form["subject_token"].replace('+', " "); // a space of a form
    let token = percent_encoding::percent_decode_str(&token).decode_utf8().expect("text");
    let token: Value = serde_json::from_str(&token).expect("JSON");
    assert_eq!((&token["method"], &token["body"]), (&Value::from("POST"), &Value::from("")));
    let url = token["url"].as_str().expect("a URL");
    assert_eq!(url, "https://sts.eu-west-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15");
    let header = |name: &str| {
        let headers = token["headers"].as_array().expect("headers");
        let found =
            headers.iter().find(|header| header["key"].as_str().is_some_and(|key| key.eq_ignore_ascii_case(name)));
        found.unwrap_or_else(|| panic!("{name} in {headers:?}"))["value"].as_str().expect("text").to_owned()
    };
    assert_eq!(header("host"), "sts.eu-west-1.amazonaws.com");
    assert_eq!(header("x-goog-cloud-target-resource"), pool);
    assert_eq!(header("x-amz-security-token"), "session");
    assert!(header("x-amz-date").ends_with('Z'));
    let signature = header("authorization");
    assert!(signature.starts_with("AWS4-HMAC-SHA256 Credential=AKIATEST/"), "{signature}");
    assert!(signature.contains("/eu-west-1/sts/aws4_request"), "{signature}");
    assert!(
        signature.contains("SignedHeaders=host;x-amz-date;x-amz-security-token;x-goog-cloud-target-resource"),
        "{signature}"
    );
}
