//! Why a writer cannot work with its settings.

use super::WriterType;

/// Why a writer cannot work with its settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A type that is known and that this version does not have; exit code 64.
    #[error("{}", super::registry().refusal(*.0))]
    NotInThisVersion(WriterType),
    /// Settings that can never work; exit code 78.
    #[error("{0}")]
    Settings(String),
}
