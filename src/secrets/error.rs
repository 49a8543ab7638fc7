//! Why a secret could not be had.

/// Why, and whether waiting may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It can never be had by these settings.
    Never,
    /// It is not there, or not as it has to be; somebody may put it there.
    Missing,
    /// The manager does not give it: no such secret, or no right to it. That may change while we wait.
    Denied,
    /// The manager does not answer, or not now.
    Away,
}

impl Trouble {
    /// As metrics call it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Never | Self::Missing => "impossible",
            Self::Denied => "denied",
            Self::Away => "away",
        }
    }
}

/// A secret that could not be had. Names the secret, never its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct SecretError {
    /// Whether waiting may help.
    pub trouble: Trouble,
    /// Which, why, and what to do.
    pub text: String,
}

impl SecretError {
    /// For a secret of this name.
    pub fn new(trouble: Trouble, name: &str, what: impl std::fmt::Display) -> Self {
        Self { trouble, text: format!("secret `{name}`: {what}") }
    }
}
