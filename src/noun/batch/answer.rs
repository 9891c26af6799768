//! What a batch is answered with: an outcome for each item, in their order, or one problem for all of them.

use super::run::run;
use super::{Act, Batch, Item, Outcome};
use crate::auth::Tenant;
use crate::db::Tx;
use crate::error::{Error, Fault, Result};
use crate::noun::Faults;

/// Does `batch` and tells of it: `{"results":[…],"succeeded":n,"failed":m}`. `request_id` stands in the problems of items.
/// Errors: of what is done wholly or not at all, everything that is wrong with any item; otherwise those that are about no
/// item.
pub fn answer(tx: &mut Tx<'_>, tenant: &Tenant, batch: &Batch, request_id: &str) -> Result<Vec<u8>> {
    let outcomes = run(tx, tenant, batch)?;
    let failed = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Failed(_))).count();
    if batch.all_or_none && failed > 0 {
        return Err(refusal(batch, &outcomes));
    }
    let mut out = Vec::with_capacity(64 + outcomes.len() * 1_024);
    out.extend_from_slice(b"{\"results\":[");
    for (place, (outcome, item)) in outcomes.iter().zip(&batch.items).enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(&mut out, outcome, item, request_id);
    }
    let succeeded = outcomes.len() - failed;
    out.extend_from_slice(format!("],\"succeeded\":{succeeded},\"failed\":{failed}}}").as_bytes());
    Ok(out)
}

fn write(out: &mut Vec<u8>, outcome: &Outcome, item: &Item, request_id: &str) {
    let (status, id, row) = match outcome {
        Outcome::Created(id, row) => (201, id, row),
        Outcome::Updated(id, row) => (200, id, row),
        Outcome::Deleted(id) => {
            return out.extend_from_slice(format!("{{\"status\":204,\"id\":\"{id}\"}}").as_bytes());
        }
        Outcome::Failed(error) => {
            let mut problem = error.problem();
            problem["request_id"] = request_id.into();
            let id = item.id().map(|id| format!("\"id\":\"{id}\",")).unwrap_or_default();
            let text = format!("{{\"status\":{},{id}\"problem\":{problem}}}", problem["status"]);
            return out.extend_from_slice(text.as_bytes());
        }
    };
    // The quotation marks of the tag are part of it.
    let etag = row.etag().replace('"', "\\\"");
    out.extend_from_slice(format!("{{\"status\":{status},\"id\":\"{id}\",\"etag\":\"{etag}\",\"row\":").as_bytes());
    out.extend_from_slice(&row.json);
    out.push(b'}');
}

/// Why nothing was done. As each item that is wrong would be refused alone, where they would all be alike; otherwise 422.
fn refusal(batch: &Batch, outcomes: &[Outcome]) -> Error {
    let mut faults = Faults::default();
    let mut alike = Vec::new();
    for (place, outcome) in outcomes.iter().enumerate() {
        let Outcome::Failed(error) = outcome else { continue };
        let own = match (error, error.faults()) {
            // An item that was not looked at, because enough is wrong.
            (Error::Internal(_), _) => continue,
            (_, own) if !own.is_empty() => own,
            (Error::Stale, _) => vec![Fault::new("/version", "precondition_failed", STALE)],
            (other, _) => {
                let pointer = if batch.act == Act::Delete { "" } else { "/id" };
                let detail = other.problem()["detail"].as_str().unwrap_or_default().to_owned();
                vec![Fault::new(pointer, "not_found", detail)]
            }
        };
        faults.part(&format!("/{}/{place}", batch.act.list()), &own);
        alike.push(error);
    }
    let faults = faults.into_inner();
    let detail = format!(
        "Nothing was done, because of {} of {} items; see `errors`. With `all_or_none` false the others are done.",
        alike.len(),
        outcomes.len()
    );
    let like = match alike.as_slice() {
        errors if errors.iter().all(|error| matches!(error, Error::Stale)) => Error::Stale,
        errors if errors.iter().all(|error| matches!(error, Error::NotFound(_))) => Error::NotFound(String::new()),
        [Error::Conflict { code, .. }, rest @ ..]
            if rest.iter().all(|error| matches!(error, Error::Conflict { .. })) =>
        {
            let same = |error: &&Error| matches!(error, Error::Conflict { code: other, .. } if other == code);
            Error::conflict(if rest.iter().all(same) { code } else { "conflict" }, "")
        }
        _ => Error::Invalid(Vec::new()),
    };
    Error::Several { like: Box::new(like), detail, faults }
}

const STALE: &str = "The row has another version by now. Read it again and retry with that.";

impl Item {
    /// The row that it is about, where that is said by an id.
    fn id(&self) -> Option<uuid::Uuid> {
        match self {
            Item::Update(id, ..) | Item::Delete(id) => Some(*id),
            _ => None,
        }
    }
}
