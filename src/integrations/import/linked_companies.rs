//! The companies which contacts of a file link, by domain or name.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use uuid::Uuid;

use super::matching::by_key;
use super::row::ParsedRow;
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::crm::companies::COMPANIES;
use crate::db::Statement;
use crate::db::Tx;
use crate::db::schema::companies;
use crate::resource::{Changeset, select};

/// The companies which a chunk links, the oldest first; names and domains in lower case.
#[derive(Default)]
pub struct Companies {
    by_domain: HashMap<String, Uuid>,
    by_name: HashMap<String, Vec<Company>>,
}

struct Company {
    id: Uuid,
    domain: Option<String>,
}

#[derive(QueryableByName)]
#[diesel(table_name = companies)]
struct LockedCompany {
    id: Uuid,
    name: String,
    domain: Option<String>,
    created_at: DateTime<Utc>,
}

impl Companies {
    pub fn load(tx: &mut Tx<'_>, tenant: &Tenant, rows: &[Option<&ParsedRow>]) -> Result<Self> {
        let wanted: Vec<&Changeset> = rows.iter().filter_map(|row| row.as_ref()?.company.as_ref()).collect();
        let mut ids: Vec<Uuid> = Vec::new();
        let domains = wanted.iter().filter_map(|change| change.text(companies::domain)).map(str::to_lowercase);
        let names = wanted.iter().filter_map(|change| change.text(companies::name)).map(str::to_lowercase);
        for (finder, mut keys) in [("domain", domains.collect::<Vec<String>>()), ("name", names.collect())] {
            keys.sort_unstable();
            keys.dedup();
            let keys = keys.into_iter().enumerate().map(|(index, key)| (index, key, String::new())).collect();
            ids.extend(by_key(tx, &COMPANIES, finder, keys)?.into_values().flatten());
        }
        let mut companies = Self::default();
        if ids.is_empty() {
            return Ok(companies);
        }
        let mut sql = Statement::new("SELECT t.id, t.name, t.domain, t.created_at FROM companies t");
        sql.append(select::tenant_predicate(&COMPANIES, tenant)).sql(" AND t.id = ANY(").bind(ids).sql(")");
        select::not_deleted(&mut sql, &COMPANIES);
        // Prevents their merge or deletion before the rows which reference them are written.
        let mut locked: Vec<LockedCompany> = sql.sql(" ORDER BY t.id FOR KEY SHARE OF t").load(tx)?;
        locked.sort_by_key(|company| (company.created_at, company.id));
        for LockedCompany { id, name, domain, .. } in locked {
            companies.add(id, &name, domain.as_deref());
        }
        Ok(companies)
    }

    pub fn add(&mut self, id: Uuid, name: &str, domain: Option<&str>) {
        let domain = domain.map(str::to_lowercase);
        if let Some(domain) = &domain {
            self.by_domain.entry(domain.clone()).or_insert(id);
        }
        self.by_name.entry(name.to_lowercase()).or_default().push(Company { id, domain });
    }

    /// Returns the company with this domain, else with this name, unless it has another domain.
    pub fn find(&self, wanted: &Changeset) -> Option<Uuid> {
        let domain = wanted.text(companies::domain).map(str::to_lowercase);
        if let Some(id) = domain.as_ref().and_then(|domain| self.by_domain.get(domain)) {
            return Some(*id);
        }
        let named = self.by_name.get(&wanted.text(companies::name)?.to_lowercase())?;
        let fits = |company: &&Company| domain.is_none() || company.domain.is_none() || company.domain == domain;
        named.iter().find(fits).map(|company| company.id)
    }
}
