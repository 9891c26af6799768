//! One open conversation with each peer: refuses to reopen a second one, and names the first.

use diesel::QueryableByName;
use diesel::sql_types::Uuid as SqlUuid;
use serde_json::json;
use uuid::Uuid;

use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::db::schema::conversations;
use crate::db::{Statement, Tx};
use crate::resource::PendingRow;

/// The status of a conversation that is over.
pub const CLOSED: &str = "closed";

/// A conversation that is to be reopened, and the one that is open.
#[derive(QueryableByName)]
struct Second {
    #[diesel(sql_type = SqlUuid)]
    closed: Uuid,
    #[diesel(sql_type = SqlUuid)]
    open: Uuid,
    #[diesel(sql_type = diesel::sql_types::Bool)]
    is_visible: bool,
}

/// Refuses those of `drafts` that reopen a conversation while another one with its address or its peer is open. (Of two that are reopened at
/// once, an index refuses one.) Queries: one, where a status is set.
pub fn refuse_second(tx: &mut Tx<'_>, tenant: &Tenant, drafts: &mut [PendingRow]) -> Result<()> {
    let opens = |draft: &&PendingRow| {
        !draft.changes.creates && draft.changes.text(conversations::status).is_some_and(|status| status != CLOSED)
    };
    let ids: Vec<Uuid> = drafts.iter().filter(opens).map(|draft| draft.id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let mut sql = Statement::new("SELECT c.id AS closed, o.id AS open, coalesce(o.assignee_id = ");
    sql.bind(tenant.restricted_to_user()).sql(", ").bind(tenant.restricted_to_user().is_none()).sql(
        ") AS is_visible FROM conversations c CROSS JOIN LATERAL (\
         SELECT a.id, a.assignee_id FROM conversations a WHERE a.business_id = c.business_id AND a.channel = c.channel AND a.address = c.address \
         AND a.channel_id IS NOT DISTINCT FROM c.channel_id AND a.status <> 'closed' AND a.deleted_at IS NULL UNION \
         SELECT p.id, p.assignee_id FROM conversations p WHERE p.business_id = c.business_id AND p.channel_id = c.channel_id \
         AND p.peer_id = c.peer_id AND p.status <> 'closed' AND p.deleted_at IS NULL) o WHERE c.status = 'closed' AND c.business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND c.id = ANY(").bind(ids).sql(")");
    for Second { closed, open, is_visible } in sql.load::<Second>(tx)? {
        if let Some(draft) = drafts.iter_mut().find(|draft| draft.id == closed) {
            draft.refuse(second(is_visible.then_some(open)));
        }
    }
    Ok(())
}

/// The refusal. `open`: `None` where the caller does not see that conversation.
fn second(open: Option<Uuid>) -> Error {
    let (detail, candidates) = match open {
        Some(open) => (
            format!("The conversation {open} with the same peer is open. Go on there, or close it first."),
            vec![json!({ "id": open, "score": 1.0, "reasons": ["address"] })],
        ),
        None => {
            ("Another conversation with the same peer is open, and it is not assigned to you.".to_owned(), Vec::new())
        }
    };
    Error::Conflict {
        code: "already_exists",
        detail,
        pointer: Some("/address".into()),
        extra: Box::new(json!({ "candidates": candidates })),
    }
}
