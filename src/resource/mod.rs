//! Resources: one definition for each, and everything that follows from it.
//!
//! A [`Resource`] names its table, its fields with their types and limits, its relations and its sorts. From this
//! definition come the list query ([`list_query`]), the SQL ([`select`]), the JSON of responses ([`row_json`]), the
//! validation of bodies ([`body`]), the writes ([`crud`]), the HTTP operations ([`http`]) and their OpenAPI
//! ([`openapi`]). So they cannot disagree, and the database catalogue is tested against the same definition.
//!
//! What is specific to a resource stands in its own module, such as those of [`crate::crm`], as [`Hooks`].

pub mod action_body;
pub mod args;
mod assignments;
pub mod audit_log;
pub mod batch;
pub mod body;
pub mod cache_refresh;
pub mod cached_read;
pub mod clean_text;
pub mod crud;
mod cursor;
pub mod export;
mod field;
pub mod http;
mod iso_codes;
pub mod list_query;
pub mod openapi;
mod pending_row;
pub mod read_query;
mod read_service;
pub mod references;
pub mod registry;
mod relation;
pub mod row_json;
mod row_loader;
pub mod select;

pub use self::body::{Changeset, ValidationErrors};
pub use self::field::{Field, FieldType, Mutability};
pub use self::pending_row::PendingRow;
pub use self::read_service::ReadService;
pub use self::relation::{Cardinality, Relation};
use crate::auth::Area;
use crate::auth::{Tenant, TenantSettings};
use crate::base::error::Result;
pub use crate::base::suggest::{did_you_mean, nearest};
use crate::db::Tx;
use crate::http::precondition::IfMatch;
use crate::http::routing::Routes;
use std::time::Duration;

use uuid::Uuid;

/// A sort order of a list. The expression must be NOT NULL and have an index `(business_id, expression, id)`.
#[derive(Clone, Copy, Debug)]
pub struct Sort {
    pub name: &'static str,
    /// SQL over the table's alias `t`.
    pub expression: &'static str,
    /// Type of the expression, for the cursor.
    pub field_type: FieldType,
}

impl Sort {
    /// Sorts by an instant.
    pub const fn time(name: &'static str, expression: &'static str) -> Self {
        Self { name, expression, field_type: FieldType::Time }
    }

    pub const fn int(name: &'static str, expression: &'static str) -> Self {
        Self { name, expression, field_type: FieldType::Int { min: i64::MIN, max: i64::MAX } }
    }

    /// Sorts by bytes, independent of the database's locale: fold the case in the expression.
    pub const fn text(name: &'static str, expression: &'static str) -> Self {
        Self { name, expression, field_type: FieldType::Text { min: 0, max: usize::MAX } }
    }
}

/// How the parameter `q` searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    None,
    /// Part of a word, by trigrams; at least three characters.
    Substring,
    /// Whole words, by full-text search.
    Words,
}

/// Which of the standard operations a resource has.
#[derive(Clone, Copy, Debug)]
pub struct Operations {
    pub create: bool,
    pub update: bool,
    pub delete: bool,
    /// Deleted rows stay for 30 days and can be restored; needs `deleted_at`.
    pub restore: bool,
    /// Many rows can be written at once ([`batch`]); needs [`WriteOps::PLAIN`], of which only `restore` may be
    /// replaced.
    pub batch: bool,
}

impl Operations {
    pub const ALL: Self = Self { create: true, update: true, delete: true, restore: true, batch: true };
    pub const NONE: Self = Self { create: false, update: false, delete: false, restore: false, batch: false };
}

/// The code specific to a resource. Each hook runs inside the write's transaction, except `prepare`, which is pure. The
/// others take a set of rows, one or a thousand, and use a number of queries that does not depend on its size.
#[derive(Clone, Copy)]
pub struct Hooks {
    /// Completes and validates a changeset without the database: derived fields, rules between fields.
    pub prepare: fn(&mut Changeset, &TenantSettings, &mut ValidationErrors),
    /// Runs before rows are written, and rejects those that must not be ([`PendingRow::refuse`]).
    pub before: fn(&mut Tx<'_>, &Tenant, &mut [PendingRow]) -> Result<()>,
    /// Runs after rows were written: effects on other rows.
    pub after: fn(&mut Tx<'_>, &Tenant, &[&PendingRow]) -> Result<()>,
    /// Runs after rows, by id, were deleted or restored: updates what is derived from them.
    pub removed_or_restored: fn(&mut Tx<'_>, &Tenant, &[Uuid]) -> Result<()>,
}

impl Hooks {
    pub const NONE: Self = Self {
        prepare: |_, _, _| {},
        before: |_, _, _| Ok(()),
        after: |_, _, _| Ok(()),
        removed_or_restored: |_, _, _| Ok(()),
    };
}

/// Which rows are visible to a caller who is restricted to assigned ones, by a setting of the business.
#[derive(Clone, Copy, Debug)]
pub enum RowVisibility {
    All,
    /// Rows whose column holds the caller's user id.
    Assigned(&'static str),
    /// Rows whose references, where set, lead to visible rows.
    Linked(&'static [(&'static str, &'static Resource)]),
    /// Rows to which either applies.
    AssignedOrLinked(&'static str, &'static [(&'static str, &'static Resource)]),
}

/// Looks for a duplicate of a row before it is created. Errors: 409.
pub type DuplicateCheck = fn(&mut Tx<'_>, &Tenant, &Changeset) -> Result<()>;

/// How a resource's rows are written; a resource that is not a plain table row replaces functions.
#[derive(Clone, Copy)]
pub struct WriteOps {
    pub create: fn(&mut Tx<'_>, &Tenant, Changeset) -> Result<(Uuid, crud::Row)>,
    pub update: fn(&mut Tx<'_>, &Tenant, Uuid, Changeset, IfMatch) -> Result<crud::Row>,
    pub delete: fn(&mut Tx<'_>, &Tenant, &'static Resource, Uuid, IfMatch) -> Result<()>,
    pub restore: fn(&mut Tx<'_>, &Tenant, &'static Resource, Uuid) -> Result<crud::Row>,
}

impl WriteOps {
    pub const PLAIN: Self =
        Self { create: crud::create, update: crud::update, delete: crud::delete, restore: crud::restore };
}

impl std::fmt::Debug for WriteOps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writes")
    }
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooks")
    }
}

pub struct Resource {
    /// `lead`
    pub name: &'static str,
    /// `leads`: the path segment and the OpenAPI tag.
    pub plural: &'static str,
    /// Its path below the API's base, where that is not its plural; see [`Resource::path`].
    pub path_override: Option<&'static str>,
    /// `Lead`: the name of its schema.
    pub schema: &'static str,
    /// One sentence for readers of the API.
    pub description: &'static str,
    /// Table or view.
    pub table: &'static str,
    /// The tables behind a view, first the one whose ids the view has; empty: the table itself.
    pub source_tables: &'static [&'static str],
    /// The tenant column: `business_id`, except for the business itself.
    pub tenant_column: &'static str,
    /// The area of the permissions that it needs.
    pub area: Area,
    pub fields: &'static [Field],
    pub relations: &'static [Relation],
    pub sorts: &'static [Sort],
    /// `-created_at`
    pub default_sort: &'static str,
    pub search: Search,
    pub operations: Operations,
    pub hooks: Hooks,
    pub writes: WriteOps,
    /// Registers its create route itself, where that takes more than a transaction; the OpenAPI description is the
    /// standard one.
    pub custom_create: Option<fn(Routes) -> Routes>,
    /// Rejects a single create over HTTP that looks like an existing row, unless `allow_duplicate=true`.
    pub duplicate_check: Option<DuplicateCheck>,
    /// Routes of its own that the path pattern of a row would match, too: they are registered first.
    pub static_routes: fn(&mut actix_web::web::ServiceConfig),
    /// Other routes of its own, below its path; their OpenAPI description is in the resource's module.
    pub routes: fn(&mut actix_web::web::ServiceConfig),
    /// How long its responses are cached at most: this limits memory, they are never stale.
    pub cache_ttl: Duration,
    /// Whether its responses are cached. Requires a trigger that changes their version stamps.
    pub cacheable: bool,
    /// Which rows are visible to a restricted caller.
    pub visibility: RowVisibility,
    /// A field that only the response to its create shows.
    pub secret: Option<&'static Field>,
    /// Whether its row is locked before the rows that it references: the lock order of operations that lock several
    /// resources.
    pub lock_before_references: bool,
    /// Whether its responses may be compressed: not where secrets stand beside client input (BREACH).
    pub compressible: bool,
}

/// Shows the plural only: resources refer to each other in circles, so showing all of one would never end.
impl std::fmt::Debug for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.plural)
    }
}

impl Resource {
    /// What most resources have in common; definitions override the rest with `..Resource::BASE`.
    pub const BASE: Resource = Resource {
        name: "",
        plural: "",
        path_override: None,
        schema: "",
        description: "",
        table: "",
        source_tables: &[],
        tenant_column: "business_id",
        area: Area::Crm,
        fields: &[],
        relations: &[],
        sorts: &[],
        default_sort: "-created_at",
        search: Search::Substring,
        operations: Operations::ALL,
        hooks: Hooks::NONE,
        writes: WriteOps::PLAIN,
        custom_create: None,
        duplicate_check: None,
        static_routes: |_| {},
        routes: |_| {},
        cache_ttl: Duration::from_secs(600),
        cacheable: true,
        visibility: RowVisibility::All,
        secret: None,
        lock_before_references: false,
        compressible: true,
    };

    /// Returns its path below the API's base.
    pub fn path(&self) -> &'static str {
        self.path_override.unwrap_or(self.plural)
    }

    /// Returns how long its responses are cached at most: as `configured` (resource, seconds), or else its own value.
    pub fn cache_ttl_or(&self, configured: &[(String, u64)]) -> Duration {
        let configured = configured.iter().find(|(name, _)| name == self.plural);
        configured.map_or(self.cache_ttl, |(_, seconds)| Duration::from_secs(*seconds))
    }

    /// Returns the tables that its rows are read from.
    pub fn tables(&'static self) -> &'static [&'static str] {
        if self.source_tables.is_empty() { std::slice::from_ref(&self.table) } else { self.source_tables }
    }

    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Returns the unique fields, by which an upsert can match rows.
    pub fn unique_fields(&self) -> impl Iterator<Item = &'static Field> + use<> {
        self.fields.iter().filter(|field| field.unique)
    }

    pub fn index(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    pub fn relation(&self, name: &str) -> Option<&'static Relation> {
        self.relations.iter().find(|relation| relation.name == name)
    }

    /// Whether changes of its rows are recorded; those of the audit log itself are not.
    pub fn has_history(&self) -> bool {
        !std::ptr::eq(self, &audit_log::AUDIT_LOG)
    }

    /// Whether rows are marked deleted rather than removed.
    pub fn soft_delete(&self) -> bool {
        self.operations.restore
    }
}
