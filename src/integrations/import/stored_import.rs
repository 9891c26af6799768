//! An import as it is stored: what its jobs and handlers load of it.

use chrono::{DateTime, Utc};
use diesel::{PgConnection, QueryableByName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::mapping::Mapping;
use super::resource::{IMPORTS, imported};
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::db::schema::imports;
use crate::db::{Statement, Tx};
use crate::resource::list_query::Projection;
use crate::resource::{Resource, select};
use crate::resource::{Row, crud};

/// An import, as the import modules use it.
pub struct Import {
    pub id: Uuid,
    pub resource: &'static Resource,
    pub format: String,
    pub separator: u8,
    pub headers: Vec<String>,
    pub mapping: Map<String, Json>,
    pub match_by: Vec<String>,
    pub on_match: String,
    pub bytes: u64,
    pub lines: i64,
    pub state: String,
    pub executed: bool,
    /// The job whose row results are stored.
    pub run: Option<Uuid>,
}

/// How a CSV file is laid out, in the column `layout`.
#[derive(Serialize, Deserialize)]
pub struct Layout {
    pub separator: char,
    pub headers: Vec<String>,
}

/// A row of `imports`.
#[derive(QueryableByName)]
#[diesel(table_name = imports)]
struct ImportRow {
    id: Uuid,
    resource: String,
    format: String,
    layout: Json,
    mapping: Json,
    match_by: Vec<String>,
    on_match: String,
    bytes: i64,
    lines: i64,
    state: String,
    executed_at: Option<DateTime<Utc>>,
    run_id: Option<Uuid>,
}

impl ImportRow {
    fn import(self) -> Result<Import> {
        let resource = imported(&self.resource).ok_or_else(|| Error::Internal("an import of nothing".into()))?;
        let (separator, headers) = match serde_json::from_value(self.layout) {
            Ok(Layout { separator, headers }) => (u8::try_from(separator).unwrap_or(b','), headers),
            Err(_) => (b',', Vec::new()),
        };
        Ok(Import {
            id: self.id,
            resource,
            format: self.format,
            separator,
            headers,
            mapping: serde_json::from_value(self.mapping).unwrap_or_default(),
            match_by: self.match_by,
            on_match: self.on_match,
            bytes: self.bytes.unsigned_abs(),
            lines: self.lines,
            state: self.state,
            executed: self.executed_at.is_some(),
            run: self.run_id,
        })
    }
}

impl Import {
    /// Loads and locks the import `id`. Errors: 404.
    pub fn lock(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<Self> {
        Self::selected(tx, Self::select(tenant, id).sql(" FOR UPDATE"))
    }

    /// Loads the import `id`. Errors: 404.
    pub fn load(conn: &mut PgConnection, tenant: &Tenant, id: Uuid) -> Result<Self> {
        Self::selected(conn, &Self::select(tenant, id))
    }

    fn select(tenant: &Tenant, id: Uuid) -> Statement {
        let mut sql = Statement::new(
            "SELECT t.id, t.resource, t.format, t.layout, t.mapping, t.match_by, t.on_match, t.bytes, t.lines, t.state, \
             t.executed_at, t.run_id FROM imports t",
        );
        sql.append(select::tenant_predicate(&IMPORTS, tenant)).sql(" AND t.id = ").bind(id);
        sql
    }

    fn selected(conn: &mut PgConnection, sql: &Statement) -> Result<Self> {
        sql.first::<ImportRow>(conn)?.ok_or_else(|| crud::not_found(&IMPORTS))?.import()
    }

    /// Builds its column mapping, which is empty for NDJSON. Errors: 422 with every error of the mapping.
    pub fn column_mapping(&self) -> Result<Mapping> {
        Mapping::of_file(self.resource, &self.format, &self.headers, &self.mapping)
    }

    /// Checks that no job works on it. Errors: 409.
    pub fn check_idle(&self) -> Result<()> {
        match self.state.as_str() {
            "trying" | "importing" | "reverting" => {
                let detail = format!("The import is {} right now. Wait for its job, or cancel it.", self.state);
                Err(Error::conflict("import_at_work", detail))
            }
            _ => Ok(()),
        }
    }
}

/// Returns the import `id` as the API shows it. Errors: 404.
pub fn shown(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<Row> {
    crud::one(tx, tenant, &IMPORTS, id, &Projection::default())?.ok_or_else(|| crud::not_found(&IMPORTS))
}
