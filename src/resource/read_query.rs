//! A read query: what it reads, its cache key, and the cache tags that its response depends on.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};

use uuid::Uuid;

use super::computed_read::ComputedRead;
use super::definition::Resource;
use super::field::FieldType;
use super::list_query::{List, Projection};
use super::read_request::ReadRequest;
use super::row_json::FieldMask;
use crate::auth::{Role, Tenant, TenantSettings};
use crate::base::error::Result;
use crate::cache::{CacheTag, Key};

/// What a query reads.
#[derive(Clone, Debug)]
pub enum ReadTarget {
    List(List),
    One(Uuid, Projection),
    Batch(Vec<Uuid>, Projection),
    /// The history of a resource's row: a list of the audit log.
    History(&'static Resource, Uuid, List),
    /// No rows.
    Computed(Arc<dyn ComputedRead>),
}

/// The projection of a read without rows.
static NO_ROWS: LazyLock<Projection> = LazyLock::new(Projection::default);

impl ReadTarget {
    /// Parses the query string of a request. Errors: 400.
    pub fn parse(resource: &'static Resource, request: &ReadRequest, business: &TenantSettings) -> Result<Self> {
        Ok(match request {
            ReadRequest::List(query) => ReadTarget::List(List::parse(resource, query, business)?),
            ReadRequest::One(id, query) => ReadTarget::One(*id, Projection::parse(resource, query, business)?),
        })
    }

    fn projection(&self) -> &Projection {
        match self {
            ReadTarget::List(list) | ReadTarget::History(_, _, list) => &list.projection,
            ReadTarget::One(_, view) | ReadTarget::Batch(_, view) => view,
            ReadTarget::Computed(_) => &NO_ROWS,
        }
    }
}

/// The canonical form: equal for targets that ask for the same.
impl fmt::Display for ReadTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = self.projection();
        write_mask(f, view.mask)?;
        f.write_str(" [")?;
        for (place, included) in view.include.iter().enumerate() {
            write!(f, "{}{}:", if place == 0 { "" } else { "," }, included.relation.name)?;
            write_mask(f, included.mask)?;
        }
        f.write_str("] ")?;
        match self {
            // Debug escapes client text, so that no text can imitate its own end.
            ReadTarget::List(list) => write!(
                f,
                "list {} {} {} {:?} {} {} {:?} {:?} {:?}",
                list.sort.name,
                list.descending,
                list.limit,
                list.count,
                list.deleted,
                list.highlights,
                list.filters.iter().map(|filter| (filter.field.name, &filter.predicate)).collect::<Vec<_>>(),
                list.search,
                list.cursor
            ),
            ReadTarget::One(id, _) => write!(f, "one {id}"),
            // Never cached.
            ReadTarget::History(resource, id, _) => write!(f, "history {} {id}", resource.plural),
            ReadTarget::Batch(ids, _) => write!(f, "batch {ids:?}"),
            ReadTarget::Computed(read) => write!(f, "computed {}", read.canonical()),
        }
    }
}

fn write_mask(f: &mut fmt::Formatter<'_>, shown: FieldMask) -> fmt::Result {
    match shown {
        Some(mask) => write!(f, "{mask:x}"),
        None => f.write_str("*"),
    }
}

#[derive(Debug)]
pub struct ReadQuery {
    pub resource: &'static Resource,
    pub target: ReadTarget,
    /// What the response depends on, but for its relations, which its rows determine.
    pub tags: Vec<CacheTag>,
    /// The request that it was parsed from; `None` where its parsed form is not cached.
    pub request: Option<ReadRequest>,
    /// The canonical form: equal for queries that ask for the same.
    canonical: Arc<str>,
    /// Whether the read service has cached its parsed form.
    pub is_cached: AtomicBool,
}

impl ReadQuery {
    /// `request` is what the target was parsed from, if that parsed form may be cached.
    pub fn new(
        resource: &'static Resource,
        target: ReadTarget,
        business: &TenantSettings,
        request: Option<ReadRequest>,
    ) -> Self {
        let ids = match &target {
            ReadTarget::One(id, _) => Some(vec![*id]),
            ReadTarget::Batch(ids, _) => Some(ids.clone()),
            ReadTarget::List(list) if resource.source_tables.is_empty() => list.linked_ids(),
            _ => None,
        };
        let tags = match &target {
            ReadTarget::Computed(read) => {
                let rows = read.rows().into_iter().flat_map(|(table, id)| CacheTag::rows(business.id, table, [id]));
                rows.chain(read.tables().into_iter().map(|table| CacheTag::table(business.id, table))).collect()
            }
            ReadTarget::List(list) => {
                let filters = list.special_filters().flat_map(|(filter, predicate)| {
                    filter.tables.iter().flat_map(|table| match predicate.ids() {
                        Some(ids) => CacheTag::rows(business.id, table, ids),
                        None => vec![CacheTag::table(business.id, table)],
                    })
                });
                Self::row_tags(resource, business, ids).into_iter().chain(filters).collect()
            }
            _ => Self::row_tags(resource, business, ids),
        };
        let canonical = target.to_string().into();
        Self { resource, target, tags, request, canonical, is_cached: AtomicBool::new(false) }
    }

    /// Returns the tags of rows of `resource`: all of them, or those with `ids`.
    fn row_tags(resource: &'static Resource, business: &TenantSettings, ids: Option<Vec<Uuid>>) -> Vec<CacheTag> {
        let mut tags = Vec::new();
        for (place, table) in resource.tables().iter().enumerate() {
            match &ids {
                // The ids of a view are those of its first table.
                Some(ids) if place == 0 => tags.extend(CacheTag::rows(business.id, table, ids.iter().copied())),
                _ => tags.push(CacheTag::table(business.id, table)),
            }
        }
        tags
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
            ReadTarget::Batch(..) | ReadTarget::History(..) | ReadTarget::Computed(_) => false,
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
        let mut resources: Vec<&Resource> = self.view().include.iter().map(|included| included.resource).collect();
        resources.push(self.resource);
        let mut tags = Vec::new();
        while let Some(resource) = resources.pop() {
            for link in resource.visibility.links() {
                let other = link.resource();
                tags.extend(other.tables().iter().map(|table| CacheTag::table(business.id, table)));
                resources.push(other);
            }
        }
        tags
    }

    /// Returns the cache key of a row without relations, all fields shown, which a write of that row outdates.
    pub fn row_key(resource: &'static Resource, tenant: &Tenant, id: Uuid) -> Key {
        let text = ReadTarget::One(id, Projection::default()).to_string();
        let (role, sees_only) = (tenant.role().name(), tenant.restricted_to_user());
        Key { business: tenant.id(), role, restricted_to: sees_only, resource: resource.plural, query: text.into() }
    }
}
