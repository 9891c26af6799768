//! An import as it is stored: what its jobs and handlers load of it.

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::mapping::Mapping;
use super::resource::{IMPORTS, imported};
use crate::auth::Tenant;
use crate::base::error::{Error, Result};
use crate::db::{RawRow, Statement, Tx};
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

impl Import {
    /// Columns which [`Import::of`] reads, for table alias `t`.
    pub const COLUMNS: &str = "t.resource, t.format, t.layout ->> 'separator', t.mapping, t.on_match, t.bytes, t.lines, t.state, \
        t.run_id, (t.executed_at IS NOT NULL)::int, t.layout -> 'headers', to_jsonb(t.match_by)";

    /// Loads and locks the import `id`. Errors: 404.
    pub fn lock(tx: &mut Tx<'_>, tenant: &Tenant, id: Uuid) -> Result<Self> {
        let mut sql = Statement::new("SELECT ");
        sql.push(Self::COLUMNS).sql(" FROM imports t");
        sql.append(select::tenant_predicate(&IMPORTS, tenant)).sql(" AND t.id = ").bind(id).sql(" FOR UPDATE");
        Self::of(id, &sql.row(tx)?.ok_or_else(|| crud::not_found(&IMPORTS))?)
    }

    /// Builds the import `id` from its [`COLUMNS`](Self::COLUMNS).
    pub fn of(id: Uuid, row: &RawRow) -> Result<Self> {
        let text = |cell| row.text(cell).unwrap_or_default().to_owned();
        let number = |cell| row.int(cell).unwrap_or_default();
        let resource = imported(&text(0)).ok_or_else(|| Error::Internal("an import of nothing".into()))?;
        let json = |cell| row.get(cell).and_then(|cell| cell.get(1..)).unwrap_or(b"null");
        Ok(Self {
            id,
            resource,
            format: text(1),
            separator: text(2).bytes().next().unwrap_or(b','),
            headers: serde_json::from_slice(json(10)).unwrap_or_default(),
            mapping: serde_json::from_slice(json(3)).unwrap_or_default(),
            match_by: serde_json::from_slice(json(11)).unwrap_or_default(),
            on_match: text(4),
            bytes: number(5).unsigned_abs(),
            lines: number(6),
            state: text(7),
            executed: number(9) == 1,
            run: row.uuid(8),
        })
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
