//! The companies which contacts of a file link, by domain or name.

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

/// The existing companies which a chunk links.
#[derive(Default)]
pub struct Companies(Vec<Company>);

/// A company, with name and domain in lower case.
struct Company {
    id: Uuid,
    name: String,
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
        let (name, domain) = (name.to_lowercase(), domain.map(str::to_lowercase));
        self.0.push(Company { id, name, domain });
    }

    /// Returns the company with this domain, else with this name, unless it has another domain.
    pub fn find(&self, wanted: &Changeset) -> Option<Uuid> {
        let (name, domain) =
            (wanted.text(companies::name)?.to_lowercase(), wanted.text(companies::domain).map(str::to_lowercase));
        let by_domain = self.0.iter().find(|company| domain.is_some() && company.domain == domain);
        let fits = |company: &&Company| {
            company.name == name && (domain.is_none() || company.domain.is_none() || company.domain == domain)
        };
        by_domain.or_else(|| self.0.iter().find(fits)).map(|company| company.id)
    }
}
