//! Files of credentials, and the proof that an identity pool gets.

use std::io::Write as _;

use super::adc::Adc;
use super::*;

fn adc(text: &str) -> Result<Adc, NoIdentity> {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    Adc::read(file.path().to_owned(), true)
}

#[test]
fn a_file_says_who_it_is_for_and_shows_no_key() {
    let key = adc(r#"{"type": "service_account", "client_email": "w@p.iam", "project_id": "p", "private_key": "hunter2"}"#);
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
