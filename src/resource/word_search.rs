//! Search for words in texts: the query that PostgreSQL matches.

use crate::db::Statement;

/// Fewest characters of a word that may be the beginning of a longer one: shorter ones begin too many.
const MIN_PREFIX_LEN: usize = 3;
/// Returns the `tsquery` of what a person typed: words, `"phrases"`, `-` for none of and `or`; the last word may be the beginning of
/// one, as long as it is being typed, unless `is_whole`.
pub fn query(text: &str, is_whole: bool) -> Statement {
    let words = |sql: &mut Statement| {
        sql.sql("websearch_to_tsquery('simple', ").bind(text.to_owned()).sql(")");
    };
    let mut sql = Statement::default();
    if is_whole || !may_go_on(text) {
        words(&mut sql);
        return sql;
    }
    // Written, a query that ends with a word ends with its quotation mark.
    sql.sql("CASE WHEN ");
    words(&mut sql);
    sql.sql("::text LIKE '%''' THEN (");
    words(&mut sql);
    sql.sql("::text || ':*')::tsquery ELSE ");
    words(&mut sql);
    sql.sql(" END");
    sql
}

/// Whether the last word may be the beginning of one.
pub fn may_go_on(text: &str) -> bool {
    let mut parts = text.rsplit(char::is_whitespace);
    let (word, before) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let last_run = word.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    text.matches('"').count().is_multiple_of(2)
        && last_run.chars().count() >= MIN_PREFIX_LEN
        && !word.starts_with('-')
        && before != "-"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_word_that_is_being_typed_may_go_on() {
        for text in ["roof", "flat roof", "\"flat roof\" til", "größe", "b2b"] {
            assert!(may_go_on(text), "{text}");
        }
        for text in [
            "",
            "ro",
            "roof ",
            "-roof",
            "flat -roof",
            "- roof",
            "..a",
            "e-m",
            "\"flat roof",
            "\"flat roof\"",
            "roof!",
            "…",
        ] {
            assert!(!may_go_on(text), "{text}");
        }
    }
}
