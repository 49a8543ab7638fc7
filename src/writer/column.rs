//! What the columns of a table in row form are: features of its namespace, or Chalk's conventions.

/// A column by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named<'a> {
    /// A feature, named without its namespace (`score`, `score@2`, `card.id`).
    Feature(&'a str),
    /// The observed time of the row: `__ts__` or `<namespace>.__chalk_observed_at__`.
    Time,
    /// Said elsewhere, or of no use to a store: `__id__`, `__index__`, `__chalk__.…`.
    Metadata,
}

/// Reads the name of a column of a namespace's table, or says what is wrong with it.
///
/// A feature of another namespace has no business in this table: its row is another entity's.
/// `~` sets off the internal version in persistence keys, so that no feature can be named with it.
pub fn named<'a>(namespace: &str, column: &'a str) -> Result<Named<'a>, String> {
    if column == "__ts__" {
        return Ok(Named::Time);
    }
    if matches!(column, "__id__" | "__index__") || column.starts_with("__chalk__.") {
        return Ok(Named::Metadata);
    }
    let feature = column.strip_prefix(namespace).and_then(|rest| rest.strip_prefix('.'));
    match feature {
        Some("__chalk_observed_at__") => Ok(Named::Time),
        Some("") => Err(format!("column `{column}` has no feature's name after its namespace")),
        Some(feature) if feature.contains('~') => {
            Err(format!("column `{column}`: a feature's name cannot hold `~`, which sets off internal versions"))
        }
        Some(feature) => Ok(Named::Feature(feature)),
        None => Err(format!("column `{column}` is not of namespace `{namespace}`: expected `{namespace}.<feature>`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_columns_name_says_what_it_is() {
        assert_eq!(named("user", "user.score@2"), Ok(Named::Feature("score@2")));
        assert_eq!(named("user", "user.card.id"), Ok(Named::Feature("card.id")));
        assert_eq!(named("user", "user.__chalk_observed_at__"), Ok(Named::Time));
        assert_eq!(named("user", "__ts__"), Ok(Named::Time));
        assert_eq!(named("user", "__id__"), Ok(Named::Metadata));
        assert_eq!(named("user", "__chalk__.__result_metadata__.user.score"), Ok(Named::Metadata));
        for wrong in ["card.number", "users.score", "score", "user.", "user", "user.score~1", ""] {
            assert!(named("user", wrong).is_err(), "{wrong}");
        }
    }
}
