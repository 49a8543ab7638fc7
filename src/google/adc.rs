//! The file of application default credentials, as far as people and an identity pool ask for what is in it.

use std::path::PathBuf;

use serde_json::Value;

use super::NoIdentity;

/// Names the file.
const VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";

/// Where `gcloud` leaves it, in the home folder.
const USUAL: &str = ".config/gcloud/application_default_credentials.json";

/// A file of credentials. Printing it shows none of them.
pub(super) struct Adc {
    path: PathBuf,
    fields: Value,
}

impl Adc {
    /// The file that Google's clients would read; `None` where they ask the metadata server instead.
    pub(super) fn find() -> Result<Option<Self>, NoIdentity> {
        let named = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let usual =
            || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(USUAL)).filter(|path| path.exists());
        let is_named = named.is_some();
        let Some(path) = named.or_else(usual) else { return Ok(None) };
        Self::read(path, is_named).map(Some)
    }

    pub(super) fn read(path: PathBuf, is_named: bool) -> Result<Self, NoIdentity> {
        let by = if is_named { format!(", which {VARIABLE} names") } else { String::new() };
        let wrong = |what: String| NoIdentity(format!("{}{by}: {what}", path.display()));
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        // The library's words quote the text, in which there is a key.
        let fields: Value = serde_json::from_str(&text).map_err(|_| wrong("is not JSON".to_owned()))?;
        if !fields.is_object() {
            return Err(wrong("is not a JSON object".to_owned()));
        }
        Ok(Self { path, fields })
    }

    pub(super) fn path(&self) -> String {
        self.path.display().to_string()
    }

    /// The text of a field.
    pub(super) fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field)?.as_str()
    }

    /// The text of a field of what says where the foreign token comes from.
    pub(super) fn source(&self, field: &str) -> Option<&str> {
        self.fields.get("credential_source")?.get(field)?.as_str()
    }

    pub(super) fn project(&self) -> Option<String> {
        self.text("project_id").or_else(|| self.text("quota_project_id")).map(str::to_owned)
    }

    /// The account that a foreign identity may act as.
    pub(super) fn impersonates(&self) -> Option<&str> {
        let url = self.text("service_account_impersonation_url")?;
        url.rsplit_once("/serviceAccounts/")?.1.strip_suffix(":generateAccessToken")
    }

    pub(super) fn who(&self, by_aws: bool) -> String {
        let foreign = if by_aws { "what AWS knows this process by, of the pool" } else { "a member of the pool" };
        match (self.text("client_email").or_else(|| self.impersonates()), self.text("audience"), self.text("type")) {
            (Some(account), ..) => format!("`{account}`"),
            (None, Some(audience), _) => format!("{foreign} `{audience}`"),
            (None, None, Some("authorized_user")) => format!("the user who signed in ({})", self.path()),
            (None, None, kind) => format!("the {} of {}", kind.unwrap_or("credentials"), self.path()),
        }
    }
}

impl std::fmt::Debug for Adc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Adc").field(&self.path).finish()
    }
}
