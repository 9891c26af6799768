//! The response of a batch: an outcome for each item, in their order, or one problem for all of them.

use super::action::BatchAction;
use super::execute::execute;
use super::items::{Batch, Item};
use super::outcome::Outcome;
use crate::auth::Tenant;
use crate::base::error::{Error, FieldError, Result};
use crate::db::Tx;
use crate::resource::body::ValidationErrors;

/// Runs `batch` and returns `{"results":[…],"succeeded":n,"failed":m}`; the problems of items contain `request_id`.
/// Errors: with `all_or_none`, the errors of all items; otherwise those that concern no single item.
pub fn response(tx: &mut Tx<'_>, tenant: &Tenant, batch: &Batch, request_id: &str) -> Result<Vec<u8>> {
    let outcomes = execute(tx, tenant, batch)?;
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
    // The ETag includes its quotation marks.
    let etag = row.etag().replace('"', "\\\"");
    out.extend_from_slice(format!("{{\"status\":{status},\"id\":\"{id}\",\"etag\":\"{etag}\",\"row\":").as_bytes());
    out.extend_from_slice(&row.json);
    out.push(b'}');
}

/// Returns why nothing was written: the error that all failed items share, otherwise 422.
fn refusal(batch: &Batch, outcomes: &[Outcome]) -> Error {
    let mut faults = ValidationErrors::default();
    let mut alike = Vec::new();
    for (place, outcome) in outcomes.iter().enumerate() {
        let Outcome::Failed(error) = outcome else { continue };
        let own = match (error, error.field_errors()) {
            // An item that was skipped, because enough others have failed.
            (Error::Internal(_), _) => continue,
            (_, own) if !own.is_empty() => own,
            (Error::PreconditionFailed, _) => {
                vec![FieldError::new("/version", "precondition_failed", PRECONDITION_FAILED)]
            }
            (other, _) => {
                let pointer = if batch.act == BatchAction::Delete { "" } else { "/id" };
                let detail = other.problem()["detail"].as_str().unwrap_or_default().to_owned();
                vec![FieldError::new(pointer, "not_found", detail)]
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
        errors if errors.iter().all(|error| matches!(error, Error::PreconditionFailed)) => Error::PreconditionFailed,
        errors if errors.iter().all(|error| matches!(error, Error::NotFound(_))) => Error::NotFound(String::new()),
        [Error::Conflict { code, .. }, rest @ ..]
            if rest.iter().all(|error| matches!(error, Error::Conflict { .. })) =>
        {
            let same = |error: &&Error| matches!(error, Error::Conflict { code: other, .. } if other == code);
            Error::conflict(if rest.iter().all(same) { code } else { "conflict" }, "")
        }
        _ => Error::Invalid(Vec::new()),
    };
    Error::BatchRejected { like: Box::new(like), detail, faults }
}

const PRECONDITION_FAILED: &str = "The row has another version now. Read it again and retry with that.";

impl Item {
    /// Returns the id of its row, where the item names it.
    fn id(&self) -> Option<uuid::Uuid> {
        match self {
            Item::Update(id, ..) | Item::Delete(id, _) => Some(*id),
            _ => None,
        }
    }
}
