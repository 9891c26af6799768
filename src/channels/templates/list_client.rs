//! Reads the list of an account's templates from Meta's Graph API (`GET /{account}/message_templates`), a page at a time.

use serde_json::Value as Json;

use crate::base::options::Secret;
use crate::channels::whatsapp::graph::{GraphClient, GraphError};

/// Templates of a page.
const PAGE_SIZE: &str = "100";
/// What is read of each.
const FIELDS: &str = "id,name,language,status,category,quality_score,rejected_reason,components";

/// Why a page could not be read.
#[derive(Debug)]
pub struct ListFailure {
    /// In Meta's words, where it has some.
    pub error: String,
    /// Whether the same may succeed in a while.
    pub passes: bool,
}

impl ListFailure {
    pub fn lasting(error: &str) -> Self {
        Self { error: error.to_owned(), passes: false }
    }
}

impl From<GraphError> for ListFailure {
    fn from(error: GraphError) -> Self {
        Self { error: error.to_string(), passes: error.passes() }
    }
}

/// A page of the list.
#[derive(Debug)]
pub struct TemplatePage {
    /// The templates, as Meta gives them.
    pub data: Json,
    /// Where the next page begins, if there is one.
    pub after: Option<String>,
}

/// Reads the page of the account's list that begins at `after`; the first without.
pub async fn page(
    graph: &GraphClient,
    account: &str,
    token: &Secret,
    after: Option<&str>,
) -> Result<TemplatePage, ListFailure> {
    let mut query = vec![("fields", FIELDS), ("limit", PAGE_SIZE)];
    query.extend(after.map(|after| ("after", after)));
    let answer = graph.get(&format!("{account}/message_templates"), &query, token).await?;
    match &answer["data"] {
        Json::Array(_) => Ok(TemplatePage { after: next_page(&answer["paging"]), data: answer["data"].clone() }),
        _ => Err(ListFailure::lasting("The answer is no list of templates.")),
    }
}

/// The cursor of the page after this one.
fn next_page(paging: &Json) -> Option<String> {
    let after = paging["cursors"]["after"].as_str().filter(|after| !after.is_empty())?;
    paging["next"].is_string().then(|| after.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn next_page_only_where_the_answer_names_one() {
        let after = json!({ "cursors": { "after": "x" }, "next": "https://graph.facebook.com/" });
        assert_eq!(next_page(&after).as_deref(), Some("x"));
        for last in
            [json!({ "cursors": { "after": "x" } }), json!({ "next": "https://graph.facebook.com/" }), Json::Null]
        {
            assert_eq!(next_page(&last), None);
        }
    }
}
