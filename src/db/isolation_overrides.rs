//! Isolation levels that operators can set for named transactions.

use super::Isolation;
use crate::base::suggest::did_you_mean;

/// The transactions whose level can be set: those of a business that change its rows. Transactions that are correct at
/// one level only (an export is a single snapshot; a merge must see the references that were made until it had its locks) fix it in the
/// code.
pub const NAMED: [&str; 10] = [
    "create",
    "update",
    "delete",
    "restore",
    "batch_create",
    "batch_update",
    "batch_upsert",
    "batch_delete",
    "processing",
    "conversion",
];

/// Attempts of a transaction above read committed: there all writers of the same rows but one fail and must retry, so
/// the worst case takes as many attempts as there are writers. The pauses between them add up to 2 to 4 seconds.
pub const ATTEMPTS: usize = 12;

/// Parses `processing=serializable`. Errors: what is wrong, with the name that was probably meant.
pub fn parse(text: &str) -> Result<(&'static str, Isolation), String> {
    let (name, level) = text.split_once('=').ok_or("a name and a level, such as processing=serializable")?;
    let (name, level) = (name.trim(), level.trim());
    let known = NAMED.into_iter().find(|known| *known == name);
    let known = known.ok_or_else(|| format!("there is no transaction `{name}`.{}", did_you_mean(name, NAMED)))?;
    let levels = Isolation::LEVELS.into_iter();
    let found = levels.clone().find(|(named, _)| *named == level).map(|(_, level)| level);
    let names = levels.map(|(named, _)| named);
    let found = found.ok_or_else(|| format!("there is no level `{level}`.{}", did_you_mean(level, names)))?;
    Ok((known, found))
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::db::Isolation;

    #[test]
    fn parse_unknown_operation_or_level_suggests_nearest() {
        assert_eq!(parse("processing=serializable"), Ok(("processing", Isolation::Serializable)));
        assert_eq!(parse(" update = read-committed "), Ok(("update", Isolation::ReadCommitted)));
        assert!(parse("procesing=serializable").is_err_and(|text| text.contains("Did you mean `processing`?")));
        assert!(parse("update=serialisable").is_err_and(|text| text.contains("Did you mean `serializable`?")));
        assert!(parse("update").is_err_and(|text| text.contains("processing=serializable")));
    }
}
