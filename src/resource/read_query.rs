//! A read query: what it reads, the cache tags that its response depends on, and how the response is computed.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use actix_web::web::Data;
use uuid::Uuid;

use super::field::FieldType;
use super::list_query::{List, Projection};
use super::row_json::FieldMask;
use super::{ReadService, Resource, RowVisibility, crud};
use crate::auth::{Role, Tenant, TenantSettings};
use crate::base::error::Result;
use crate::cache::{CacheTag, ComputedResponse, Key};

/// What a query reads.
#[derive(Clone, Debug)]
pub enum ReadTarget {
    List(List),
    One(Uuid, Projection),
    Batch(Vec<Uuid>, Projection),
    /// The history of a resource's row: a list of the audit log.
    History(&'static Resource, Uuid, List),
}

impl ReadTarget {
    fn projection(&self) -> &Projection {
        match self {
            ReadTarget::List(list) | ReadTarget::History(_, _, list) => &list.projection,
            ReadTarget::One(_, view) | ReadTarget::Batch(_, view) => view,
        }
    }
}

#[derive(Debug)]
pub struct ReadQuery {
    pub resource: &'static Resource,
    pub target: ReadTarget,
    /// What the response depends on.
    pub tags: Vec<CacheTag>,
    /// The query text that it was parsed from; empty where there is none to cache.
    pub query_text: String,
    /// The canonical form: equal for queries that ask for the same.
    canonical: Arc<str>,
    /// Whether the read service has cached its parsed form.
    pub is_cached: AtomicBool,
}

impl ReadQuery {
    pub fn new(resource: &'static Resource, what: ReadTarget, business: &TenantSettings, typed: &str) -> Self {
        let view = what.projection();
        let own = resource.tables().iter().enumerate().map(|(place, table)| match &what {
            // The ids of a view are those of its first table.
            ReadTarget::One(id, _) if place == 0 => CacheTag::row(business.id, table, *id),
            _ => CacheTag::table(business.id, table),
        });
        let related = view.include.iter().flat_map(|(relation, _)| relation.resource.tables());
        let related = related.map(|table| CacheTag::table(business.id, table));
        let mut scopes: Vec<CacheTag> = Vec::new();
        for scope in own.chain(related) {
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        let text = normal_form(&what, view).into();
        Self {
            resource,
            target: what,
            tags: scopes,
            query_text: typed.to_owned(),
            canonical: text,
            is_cached: AtomicBool::new(false),
        }
    }

    /// Returns the projection of its rows.
    pub fn view(&self) -> &Projection {
        self.target.projection()
    }

    /// Whether it may be saved: it holds no free text, and so no personal data.
    pub fn is_free_of_personal_data(&self) -> bool {
        let closed = |kind| {
            matches!(
                kind,
                FieldType::Uuid
                    | FieldType::Choice(_)
                    | FieldType::Int { .. }
                    | FieldType::Bool
                    | FieldType::Time
                    | FieldType::Date
            )
        };
        match &self.target {
            ReadTarget::List(list) => {
                list.search.is_none()
                    && list.cursor.is_none()
                    && list.filters.iter().all(|filter| closed(filter.field.field_type))
            }
            ReadTarget::One(..) => true,
            ReadTarget::Batch(..) | ReadTarget::History(..) => false,
        }
    }

    /// Returns the cache key of its response to callers in `role`, restricted to one user's rows or not.
    pub fn key(&self, business: &TenantSettings, role: Role, sees_only: Option<Uuid>) -> Key {
        let question = self.canonical.clone();
        Key {
            business: business.id,
            role: role.name(),
            restricted_to: sees_only,
            resource: self.resource.plural,
            query: question,
        }
    }

    /// Returns the further cache tags of a response to a restricted caller: the tables that decide which rows are
    /// visible.
    pub fn visibility_tags(&self, business: &TenantSettings) -> Vec<CacheTag> {
        let mut resources: Vec<&Resource> = self.view().include.iter().map(|(relation, _)| relation.resource).collect();
        resources.push(self.resource);
        let mut scopes = Vec::new();
        while let Some(resource) = resources.pop() {
            let (RowVisibility::Linked(links) | RowVisibility::AssignedOrLinked(_, links)) = resource.visibility else {
                continue;
            };
            for (_, other) in links {
                scopes.extend(other.tables().iter().map(|table| CacheTag::table(business.id, table)));
                resources.push(other);
            }
        }
        scopes
    }

    /// Returns the cache key of a row without relations, all fields shown, which a write of that row outdates.
    pub fn row_key(resource: &'static Resource, tenant: &Tenant, id: Uuid) -> Key {
        let what = ReadTarget::One(id, Projection::default());
        let text = normal_form(&what, &Projection::default());
        let (role, sees_only) = (tenant.role().name(), tenant.restricted_to_user());
        Key { business: tenant.id(), role, restricted_to: sees_only, resource: resource.plural, query: text.into() }
    }

    /// Computes the response from the database.
    pub async fn compute(self: Arc<Self>, engine: Data<ReadService>, tenant: Tenant) -> Result<ComputedResponse> {
        let resource = self.resource;
        // Read alone, not in a batch: one statement of a batch serves several businesses and all of their callers.
        let alone = tenant.restricted_to_user().is_some() || engine.db.secures_reads();
        match &self.target {
            ReadTarget::List(_) => {
                let body = engine.db.for_tenant(&tenant).read("list", move |conn| {
                    let ReadTarget::List(list) = &self.target else { return Ok(Vec::new()) };
                    crud::list(conn, &tenant, list)
                });
                Ok(hashed(body.await?))
            }
            ReadTarget::One(id, view) if view.include.is_empty() && !alone => {
                let cells = engine.row_loader.one(resource, &tenant, *id).await?;
                let row = cells.map(|cells| crud::row(resource, view, &cells, &crud::RelatedRows::default()));
                Ok(of_row(row.ok_or_else(|| crud::not_found(resource))?))
            }
            ReadTarget::One(id, view) => {
                let (id, asked) = (*id, view.clone());
                let row = engine
                    .db
                    .for_tenant(&tenant)
                    .read("one_with_relations", move |conn| crud::one(conn, &tenant, resource, id, &asked));
                Ok(of_row(row.await?.ok_or_else(|| crud::not_found(resource))?))
            }
            ReadTarget::History(..) => {
                let body = engine.db.for_tenant(&tenant).read("history", move |conn| {
                    let ReadTarget::History(resource, id, list) = &self.target else { return Ok(Vec::new()) };
                    crud::history(conn, &tenant, resource, *id, list)
                });
                Ok(hashed(body.await?))
            }
            ReadTarget::Batch(..) => {
                let body = engine.db.for_tenant(&tenant).read("batch_read", move |conn| {
                    let ReadTarget::Batch(ids, view) = &self.target else { return Ok(Vec::new()) };
                    crud::batch(conn, &tenant, resource, ids, view)
                });
                Ok(hashed(body.await?))
            }
        }
    }
}

/// A response whose ETag is a hash of its bytes: lists and all others without a version of their own.
fn hashed(body: Vec<u8>) -> ComputedResponse {
    let etag = format!("\"{:016x}\"", xxhash_rust::xxh3::xxh3_64(&body));
    ComputedResponse { body, etag }
}

fn of_row(row: crud::Row) -> ComputedResponse {
    ComputedResponse { etag: row.etag(), body: row.json }
}

fn normal_form(what: &ReadTarget, view: &Projection) -> String {
    let shown = |shown: FieldMask| shown.map_or("*".to_owned(), |mask| format!("{mask:x}"));
    let include = view.include.iter().map(|(relation, fields)| format!("{}:{}", relation.name, shown(*fields)));
    let include = include.collect::<Vec<_>>().join(",");
    let what = match what {
        // Debug escapes client text, so that no text can imitate its own end.
        ReadTarget::List(list) => format!(
            "list {} {} {} {:?} {} {:?} {:?} {:?}",
            list.sort.name,
            list.descending,
            list.limit,
            list.count,
            list.deleted,
            list.filters.iter().map(|filter| (filter.field.name, &filter.predicate)).collect::<Vec<_>>(),
            list.search,
            list.cursor
        ),
        ReadTarget::One(id, _) => format!("one {id}"),
        // Never cached.
        ReadTarget::History(resource, id, _) => format!("history {} {id}", resource.plural),
        ReadTarget::Batch(ids, _) => format!("batch {ids:?}"),
    };
    format!("{} [{include}] {what}", shown(view.mask))
}
