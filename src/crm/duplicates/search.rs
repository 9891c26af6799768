//! Finds possible duplicates by indexes: mailbox, phone number, domain, external id, and trigrams of the name.

use diesel::pg::PgConnection;
use uuid::Uuid;

use super::score::ScoredMatch;
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::crm::contacts::CONTACTS;
use crate::db::{SqlValue, Statement};
use crate::resource::{Changeset, Resource, crud, select};

/// Rows per index; a value that more rows share says nothing.
const MAX_CANDIDATES: usize = 100;
/// Rows in a response at most.
pub const SHOWN: i64 = 20;

/// What is known of a row that exists, or could be created.
#[derive(Clone, Debug, Default)]
pub struct Prospect {
    /// Its own id, if it exists.
    pub id: Option<Uuid>,
    pub email: Option<String>,
    pub phone: Option<String>,
    /// A company's domain, as written.
    pub host: Option<String>,
    /// The same, or that of the email address, in lower case and without `www.`
    pub domain: Option<String>,
    pub external_id: Option<String>,
    pub company: Option<Uuid>,
    /// The full name.
    pub name: Option<String>,
}

impl Prospect {
    /// Takes the values of a request body.
    pub fn of_change(change: &Changeset) -> Self {
        let text = |name: &str| change.text_field(name).map(str::to_owned);
        let names: Vec<String> = ["name", "first_name", "last_name"].into_iter().filter_map(text).collect();
        Self {
            id: None,
            email: text("email"),
            phone: text("phone"),
            host: text("domain"),
            domain: text("domain").or_else(|| domain_of(&text("email")?)).map(bare),
            external_id: text("external_id"),
            company: change.get_field("company_id").and_then(SqlValue::as_uuid),
            name: Some(names.join(" ")).filter(|name| !name.is_empty()),
        }
    }

    /// Loads the values of row `id`. Errors: 404.
    pub fn of_row(conn: &mut PgConnection, tenant: &Tenant, resource: &'static Resource, id: Uuid) -> Result<Self> {
        let columns = match is_contact(resource) {
            true => {
                "t.email, t.phone, t.external_id, nullif(concat_ws(' ', t.first_name, t.last_name), ''), t.company_id"
            }
            false => "t.domain, t.phone, t.external_id, t.name, NULL::uuid",
        };
        let mut sql = Statement::new(format!("SELECT {columns} FROM {} t", resource.table));
        sql.append(select::tenant_predicate(resource, tenant)).sql(" AND t.id = ").bind(id);
        select::not_deleted(&mut sql, resource);
        let row = sql.row(conn)?.ok_or_else(|| crud::not_found(resource))?;
        let text = |cell| row.text(cell).map(str::to_owned);
        let (email, host) = if is_contact(resource) { (text(0), None) } else { (None, text(0)) };
        let domain = host.clone().or_else(|| domain_of(email.as_deref()?)).map(bare);
        Ok(Self {
            id: Some(id),
            email,
            phone: text(1),
            host,
            domain,
            external_id: text(2),
            name: text(3),
            company: row.uuid(4),
        })
    }

    /// Whether it has nothing that rows are found by.
    pub fn is_empty(&self) -> bool {
        [&self.email, &self.phone, &self.domain, &self.external_id, &self.name].iter().all(|text| text.is_none())
    }
}

pub(super) fn is_contact(resource: &Resource) -> bool {
    resource.plural == CONTACTS.plural
}

fn domain_of(email: &str) -> Option<String> {
    email.split_once('@').map(|(_, domain)| domain.to_owned())
}

/// In lower case, without `www.`
fn bare(domain: String) -> String {
    let domain = domain.to_lowercase();
    domain.strip_prefix("www.").map(str::to_owned).unwrap_or(domain)
}

/// Returns the rows that could be the same as `prospect`, the likeliest first. Queries: one.
pub fn search(
    conn: &mut PgConnection,
    tenant: &Tenant,
    resource: &'static Resource,
    prospect: &Prospect,
) -> Result<Vec<ScoredMatch>> {
    let mut rated: Vec<ScoredMatch> = question(resource, tenant, prospect)
        .rows(conn)?
        .iter()
        .filter_map(ScoredMatch::read)
        .filter(ScoredMatch::is_likely)
        .collect();
    rated.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
    Ok(rated)
}

/// Builds the statement of [`search`].
pub fn question(resource: &'static Resource, tenant: &Tenant, prospect: &Prospect) -> Statement {
    let mut found = Statement::default();
    let mut arm = |test: Statement, order: Option<Statement>| {
        let joint = if found.text().is_empty() { "(" } else { " UNION (" };
        found
            .push(joint)
            .push(&format!("SELECT t.id FROM {} t", resource.table))
            .append(select::tenant_predicate(resource, tenant));
        select::not_deleted(&mut found, resource);
        found.sql(" AND ").append(test);
        if let Some(order) = order {
            found.sql(" ORDER BY ").append(order);
        }
        found.push(&format!(" LIMIT {MAX_CANDIDATES})"));
    };
    let equal = |left: &str, value: &str, right: &str| {
        let mut sql = Statement::new(format!("{left} = "));
        let (before, after) = right.split_once('?').unwrap_or(("", ""));
        sql.push(before).bind(value.to_owned()).push(after);
        sql
    };
    if let Some(email) = prospect.email.as_deref().filter(|_| is_contact(resource)) {
        arm(equal("rapport_mailbox(t.email)", email, "rapport_mailbox(?)"), None);
    }
    if let Some(domain) = prospect.domain.as_deref().filter(|_| !is_contact(resource)) {
        let mut sql = Statement::new("lower(t.domain) = ANY(");
        sql.bind(vec![domain.to_owned(), format!("www.{domain}")]).sql(")");
        arm(sql, None);
    }
    if let Some(phone) = prospect.phone.as_deref() {
        arm(equal("t.phone", phone, "?"), None);
    }
    if let Some(id) = prospect.external_id.as_deref() {
        arm(equal("t.external_id", id, "?"), None);
    }
    if let Some(name) = prospect.name.as_deref() {
        if !is_contact(resource) {
            arm(equal("rapport_company_name(t.name)", name, "rapport_company_name(?)"), None);
        }
        // The search text has more than the name, so what counts is how much of the name is in it.
        let called = if is_contact(resource) { "lower(" } else { "rapport_company_name(" };
        let name = || SqlValue::Text(Some(name.to_owned()));
        let mut test = Statement::new(called);
        test.bind(name()).sql(") <% t.search");
        let mut order = Statement::new(format!("word_similarity({called}"));
        order.bind(name()).sql("), t.search) DESC");
        arm(test, Some(order));
    }
    if found.text().is_empty() {
        found.sql("SELECT NULL::uuid AS id WHERE false");
    }
    rated(resource, tenant, prospect, found)
}

/// Compares the rows that `found` selects with `prospect`; the columns are those that [`ScoredMatch::read`] reads.
pub(super) fn rated(resource: &'static Resource, tenant: &Tenant, prospect: &Prospect, found: Statement) -> Statement {
    let text = |text: &Option<String>| SqlValue::Text(text.clone());
    let mut sql = Statement::new("WITH found (id) AS (");
    sql.append(found).sql(") SELECT t.id, (similarity(");
    let name = SqlValue::Text(prospect.name.clone());
    match is_contact(resource) {
        true => sql.sql("nullif(concat_ws(' ', t.first_name, t.last_name), ''), ").bind(name),
        false => sql.sql("rapport_company_name(t.name), rapport_company_name(").bind(name).sql(")"),
    };
    sql.sql(") * 1000)::integer");
    let mut flag = |parts: Vec<(&str, SqlValue, &str)>| {
        sql.sql(", coalesce(");
        for (before, value, after) in parts {
            sql.push(before).bind(value).push(after);
        }
        sql.sql(", false)::integer");
    };
    let never = || vec![("", SqlValue::Bool(None), "")];
    // In the order of `score::FLAGS`.
    let (outside, phone) = (text(&prospect.external_id), text(&prospect.phone));
    let (address, host) = (text(&prospect.email), text(&prospect.domain));
    match is_contact(resource) {
        true => {
            flag(vec![("lower(t.email) = lower(", address.clone(), ")")]);
            flag(vec![("t.external_id = ", outside, "")]);
            flag(never());
            flag(vec![("t.phone = ", phone, "")]);
            flag(vec![
                ("lower(t.email) <> lower(", address.clone(), ")"),
                (" AND rapport_mailbox(t.email) = rapport_mailbox(", address, ")"),
            ]);
            // The company itself, or one with the domain of the email address.
            flag(vec![
                ("t.company_id = ", SqlValue::Uuid(prospect.company), ""),
                (" OR regexp_replace(lower(c.domain), '^www[.]', '') = ", host, ""),
            ]);
        }
        false => {
            flag(never());
            flag(vec![("t.external_id = ", outside, "")]);
            flag(vec![("regexp_replace(lower(t.domain), '^www[.]', '') = ", host, "")]);
            flag(vec![("t.phone = ", phone, "")]);
            flag(never());
            flag(never());
            // Of companies, whether it is that very domain, and whether it is another.
            flag(vec![("lower(t.domain) = lower(", text(&prospect.host), ")")]);
            flag(vec![("regexp_replace(lower(t.domain), '^www[.]', '') <> ", text(&prospect.domain), "")]);
        }
    }
    sql.sql(" FROM found JOIN ").ident(resource.table).sql(" t ON t.id = found.id");
    if is_contact(resource) {
        sql.sql(
            " LEFT JOIN companies c ON c.business_id = t.business_id AND c.id = t.company_id AND c.deleted_at IS NULL",
        );
    }
    sql.append(select::tenant_predicate(resource, tenant));
    select::not_deleted(&mut sql, resource);
    if prospect.id.is_some() {
        sql.sql(" AND t.id <> ").bind(prospect.id);
    }
    sql
}
