//! The definition of a resource: everything about it that is data, and its [`Hooks`].

use std::time::Duration;

use super::field::Field;
use super::hooks::Hooks;
use super::list_filter::ListFilter;
use super::operations::Operations;
use super::relation::Relation;
use super::row_visibility::RowVisibility;
use super::sort::Sort;
use crate::auth::Area;

/// How the parameter `q` searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    None,
    /// Part of a word, by trigrams; at least three characters.
    Substring,
    /// Whole words, by full-text search.
    Words,
}

/// A resource of the API: the rows of one table or view, and what clients may do with them.
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
    /// What its lists can be filtered by beside its fields.
    pub filters: &'static [ListFilter],
    pub relations: &'static [Relation],
    pub sorts: &'static [Sort],
    /// `-created_at`
    pub default_sort: &'static str,
    pub search: Search,
    pub operations: Operations,
    pub hooks: Hooks,
    /// How long its responses are cached at most: this limits memory, they are never stale.
    pub cache_ttl: Duration,
    /// Whether its responses are cached. Requires the triggers of the log of changes.
    pub cacheable: bool,
    /// Which rows are visible to a restricted caller.
    pub visibility: RowVisibility,
    /// A field that only the response to its create shows.
    pub secret: Option<&'static Field>,
    /// Whether rows that are gone stay, marked as deleted, although nobody can restore them.
    pub keeps_deleted: bool,
    /// Whether its row is locked before the rows that it references: the lock order of operations that lock several
    /// resources.
    pub lock_before_references: bool,
    /// Whether changes of its rows are recorded in the audit log.
    pub audited: bool,
    /// Whether its responses may be compressed: not where secrets stand beside client input (BREACH).
    pub compressible: bool,
}

/// Shows the plural only.
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
        filters: &[],
        relations: &[],
        sorts: &[],
        default_sort: "-created_at",
        search: Search::Substring,
        operations: Operations::ALL,
        hooks: Hooks::NONE,
        cache_ttl: Duration::from_secs(600),
        cacheable: true,
        visibility: RowVisibility::All,
        secret: None,
        keeps_deleted: false,
        lock_before_references: false,
        audited: true,
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

    /// Returns the filter `name` that is no field.
    pub fn list_filter(&self, name: &str) -> Option<&'static ListFilter> {
        self.filters.iter().find(|filter| filter.field.name == name)
    }

    /// Returns what lists may be filtered by: the fields, and then the filters that are none.
    pub fn filterable(&self) -> impl Iterator<Item = &'static Field> + use<> {
        self.fields.iter().chain(self.filters.iter().map(|filter| &filter.field))
    }

    /// Returns the field `name`, which the resource is known to have: its definition names it elsewhere.
    pub fn own_field(&self, name: &'static str) -> &'static Field {
        #[expect(clippy::panic, reason = "a mistake of a definition, which the first use of the resource shows")]
        self.field(name).unwrap_or_else(|| panic!("{} have no field `{name}`", self.plural))
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
        self.audited
    }

    /// Returns the fields that a client may set: when the row is created (`creates`), or at any time.
    pub fn writable_fields(&self, creates: bool) -> impl Iterator<Item = &'static Field> + use<> {
        self.fields.iter().filter(move |field| field.is_writable(creates))
    }

    /// Whether rows are marked deleted rather than removed.
    pub fn soft_delete(&self) -> bool {
        self.operations.restore || self.keeps_deleted
    }
}
