//! Isolation levels that operators choose for transactions by their name.

use super::Isolation;
use crate::hint::did_you_mean;

/// The transactions whose level can be chosen: those of a business that change its rows. What needs one level to be right
/// (an export is of one moment) has it in the code.
pub const NAMED: [&str; 12] = [
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
    "merge",
    "reversion",
];

/// How often a transaction is tried in all where its level is above read committed: there every writer of the same rows but
/// one is told to try again, so it takes as many attempts as there are writers, in the worst case. With the pauses between
/// them that is three seconds at most.
pub const ATTEMPTS: usize = 12;

/// `processing=serializable`. Errors: what is wrong, with the name that was probably meant.
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
    fn a_level_is_read_and_what_is_unknown_is_refused_with_the_nearest() {
        assert_eq!(parse("processing=serializable"), Ok(("processing", Isolation::Serializable)));
        assert_eq!(parse(" update = read-committed "), Ok(("update", Isolation::ReadCommitted)));
        assert!(parse("procesing=serializable").is_err_and(|text| text.contains("Did you mean `processing`?")));
        assert!(parse("update=serialisable").is_err_and(|text| text.contains("Did you mean `serializable`?")));
        assert!(parse("update").is_err_and(|text| text.contains("processing=serializable")));
    }
}
