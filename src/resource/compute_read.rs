//! Computes the response to a read query from the database.

use std::sync::Arc;

use actix_web::web::Data;

use super::read_query::{ReadQuery, ReadTarget};
use super::read_rows::{self, Tagged};
use super::read_service::ReadService;
use super::row::Row;
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::cache::ComputedResponse;

/// Computes the response to `query`, read as `tenant`. Errors: 404, and those of the database.
pub async fn compute_read(query: Arc<ReadQuery>, reads: Data<ReadService>, tenant: Tenant) -> Result<ComputedResponse> {
    let resource = query.resource;
    // Read alone, not in a batch: one statement of a batch serves several businesses and all of their callers.
    let alone = tenant.restricted_to_user().is_some() || reads.db.secures_reads();
    match &query.target {
        ReadTarget::List(_) => {
            let body = reads.db.for_tenant(&tenant).read("list", move |conn| {
                let ReadTarget::List(list) = &query.target else { return Err(not_asked()) };
                read_rows::list(conn, &tenant, list)
            });
            Ok(hashed(body.await?))
        }
        ReadTarget::One(id, view) if view.include.is_empty() && !alone => {
            let cells = reads.row_loader.one(resource, &tenant, *id).await?;
            let row = cells.map(|cells| read_rows::row(resource, view, &cells, &read_rows::RelatedRows::default()));
            Ok(of_row(row.ok_or_else(|| read_rows::not_found(resource))?))
        }
        ReadTarget::One(id, view) => {
            let (id, asked) = (*id, view.clone());
            let row = reads
                .db
                .for_tenant(&tenant)
                .read("one_with_relations", move |conn| read_rows::one_tagged(conn, &tenant, resource, id, &asked));
            let Tagged { read, tags } = row.await?;
            Ok(ComputedResponse { tags, ..of_row(read.ok_or_else(|| read_rows::not_found(resource))?) })
        }
        ReadTarget::History(..) => {
            let body = reads.db.for_tenant(&tenant).read("history", move |conn| {
                let ReadTarget::History(resource, id, list) = &query.target else { return Err(not_asked()) };
                read_rows::history(conn, &tenant, resource, *id, list)
            });
            Ok(hashed(body.await?))
        }
        ReadTarget::Computed(_) => {
            let response = reads.db.for_tenant(&tenant).read(resource.plural, move |conn| {
                let ReadTarget::Computed(read) = &query.target else { return Err(not_asked()) };
                read.compute(conn, &tenant)
            });
            response.await
        }
        ReadTarget::Batch(..) => {
            let body = reads.db.for_tenant(&tenant).read("batch_read", move |conn| {
                let ReadTarget::Batch(ids, view) = &query.target else { return Err(not_asked()) };
                read_rows::batch(conn, &tenant, resource, ids, view)
            });
            Ok(hashed(body.await?))
        }
    }
}

/// A response whose ETag is a hash of its bytes: lists and all others without a version of their own.
fn hashed(Tagged { read: body, tags }: Tagged<Vec<u8>>) -> ComputedResponse {
    let etag = format!("\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(&body));
    ComputedResponse { body, etag, tags }
}

/// The target is matched before the query moves to the database's thread, and again there.
fn not_asked() -> Error {
    Error::Internal("a query that asks for something else".into())
}

fn of_row(row: Row) -> ComputedResponse {
    ComputedResponse { etag: row.etag(), body: row.json, tags: Vec::new() }
}
