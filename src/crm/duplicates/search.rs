//! Finds possible duplicates by indexes: mailbox, phone number, domain, external id, and trigrams of the name.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::score::{Candidate, ScoredMatch};
use crate::auth::Tenant;
use crate::base::error::Result;
use crate::crm::contacts::CONTACTS;
use crate::db::schema::{companies, contacts};
use crate::db::{SqlValue, Statement};
use crate::resource::{Changeset, Resource, crud, select};

/// Rows per index; a value that more rows share says nothing.
const MAX_CANDIDATES: u32 = 100;

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
    /// Takes the values of a request body, of a contact or a company.
    pub fn of_change(change: &Changeset) -> Self {
        let names = [change.text(companies::name), change.text(contacts::first_name), change.text(contacts::last_name)];
        let name = names.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let fields = ComparedFields {
            email: change.text(contacts::email).map(str::to_owned),
            domain: change.text(companies::domain).map(str::to_owned),
            phone: change.text(contacts::phone).map(str::to_owned),
            external_id: change.text(contacts::external_id).map(str::to_owned),
            name: Some(name).filter(|name| !name.is_empty()),
            company_id: change.get(contacts::company_id).and_then(SqlValue::as_uuid),
        };
        fields.into_prospect(None)
    }

    /// Loads the values of row `id`. Errors: 404.
    pub fn of_row(conn: &mut PgConnection, tenant: &Tenant, resource: &'static Resource, id: Uuid) -> Result<Self> {
        let mut sql = Statement::new(match is_contact(resource) {
            true => ComparedFields::OF_CONTACT,
            false => ComparedFields::OF_COMPANY,
        });
        sql.append(select::tenant_predicate(resource, tenant)).sql(" AND t.id = ").bind(id);
        select::not_deleted(&mut sql, resource);
        let fields = sql.first::<ComparedFields>(conn)?.ok_or_else(|| crud::not_found(resource))?;
        Ok(fields.into_prospect(Some(id)))
    }

    /// Whether it has nothing that rows are found by.
    pub fn is_empty(&self) -> bool {
        [&self.email, &self.phone, &self.domain, &self.external_id, &self.name].iter().all(|text| text.is_none())
    }
}

/// The fields of a contact or a company that are compared.
#[derive(QueryableByName)]
struct ComparedFields {
    #[diesel(sql_type = Nullable<Text>)]
    email: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    domain: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    phone: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    external_id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    company_id: Option<Uuid>,
}

impl ComparedFields {
    const OF_CONTACT: &str = "SELECT t.email, NULL AS domain, t.phone, t.external_id, \
        nullif(concat_ws(' ', t.first_name, t.last_name), '') AS name, t.company_id FROM contacts t";
    const OF_COMPANY: &str = "SELECT NULL AS email, t.domain, t.phone, t.external_id, t.name, NULL::uuid AS company_id \
        FROM companies t";

    fn into_prospect(self, id: Option<Uuid>) -> Prospect {
        let Self { email, domain: host, phone, external_id, name, company_id: company } = self;
        let domain = host.clone().or_else(|| domain_of(email.as_deref()?)).map(bare);
        Prospect { id, email, phone, host, domain, external_id, company, name }
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
    let candidates = question(resource, tenant, prospect).load::<Candidate>(conn)?;
    let mut rated: Vec<ScoredMatch> =
        candidates.into_iter().map(ScoredMatch::from).filter(ScoredMatch::is_likely).collect();
    rated.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
    Ok(rated)
}

/// Builds the statement of [`search`].
pub fn question(resource: &'static Resource, tenant: &Tenant, prospect: &Prospect) -> Statement {
    let mut found = Statement::default();
    let mut arm = |test: Statement, order: Option<Statement>| {
        found.sql(if found.text().is_empty() { "(" } else { " UNION (" });
        found.sql("SELECT t.id FROM ").ident(resource.table).sql(" t");
        found.append(select::tenant_predicate(resource, tenant));
        select::not_deleted(&mut found, resource);
        found.sql(" AND ").append(test);
        if let Some(order) = order {
            found.sql(" ORDER BY ").append(order);
        }
        found.sql(" LIMIT ").number(MAX_CANDIDATES).sql(")");
    };
    let test = |before: &'static str, value: &str, after: &'static str| {
        let mut sql = Statement::new(before);
        sql.bind(value).sql(after);
        sql
    };
    if let Some(email) = prospect.email.as_deref().filter(|_| is_contact(resource)) {
        arm(test("rapport_mailbox(t.email) = rapport_mailbox(", email, ")"), None);
    }
    if let Some(domain) = prospect.domain.as_deref().filter(|_| !is_contact(resource)) {
        let mut sql = Statement::new("lower(t.domain) = ANY(");
        sql.bind(vec![domain.to_owned(), format!("www.{domain}")]).sql(")");
        arm(sql, None);
    }
    if let Some(phone) = prospect.phone.as_deref() {
        arm(test("t.phone = ", phone, ""), None);
    }
    if let Some(id) = prospect.external_id.as_deref() {
        arm(test("t.external_id = ", id, ""), None);
    }
    // The search text has more than the name, so what counts is how much of the name is in it.
    match prospect.name.as_deref() {
        Some(name) if is_contact(resource) => {
            let order = test("word_similarity(lower(", name, "), t.search) DESC");
            arm(test("lower(", name, ") <% t.search"), Some(order));
        }
        Some(name) => {
            arm(test("rapport_company_name(t.name) = rapport_company_name(", name, ")"), None);
            let order = test("word_similarity(rapport_company_name(", name, "), t.search) DESC");
            arm(test("rapport_company_name(", name, ") <% t.search"), Some(order));
        }
        None => {}
    }
    if found.text().is_empty() {
        found.sql("SELECT NULL::uuid AS id WHERE false");
    }
    compare(resource, tenant, prospect, found)
}

/// Compares the rows that `found` selects with `prospect`: each becomes a [`Candidate`].
pub(super) fn compare(
    resource: &'static Resource,
    tenant: &Tenant,
    prospect: &Prospect,
    found: Statement,
) -> Statement {
    let mut sql = Statement::new("WITH found (id) AS (");
    sql.append(found).sql(") SELECT t.id, ");
    match is_contact(resource) {
        true => compare_contact(&mut sql, prospect),
        false => compare_company(&mut sql, prospect),
    }
    sql.append(select::tenant_predicate(resource, tenant));
    select::not_deleted(&mut sql, resource);
    if prospect.id.is_some() {
        sql.sql(" AND t.id <> ").bind(prospect.id);
    }
    sql
}

fn compare_contact(sql: &mut Statement, prospect: &Prospect) {
    let (email, domain) = (prospect.email.as_deref(), prospect.domain.as_deref());
    sql.sql("(similarity(nullif(concat_ws(' ', t.first_name, t.last_name), ''), ").bind(prospect.name.as_deref());
    sql.sql(") * 1000)::integer AS name_thousandths, coalesce(lower(t.email) = lower(").bind(email);
    sql.sql("), false) AS same_email, coalesce(t.external_id = ").bind(prospect.external_id.as_deref());
    sql.sql(", false) AS same_external_id, false AS same_domain, coalesce(t.phone = ").bind(prospect.phone.as_deref());
    sql.sql(", false) AS same_phone, coalesce(lower(t.email) <> lower(").bind(email);
    sql.sql(") AND rapport_mailbox(t.email) = rapport_mailbox(").bind(email);
    // The company itself, or one with the domain of the email address.
    sql.sql("), false) AS similar_email, coalesce(t.company_id = ").bind(prospect.company);
    sql.sql(" OR regexp_replace(lower(c.domain), '^www[.]', '') = ").bind(domain);
    sql.sql(
        ", false) AS same_company, false AS exact_domain, false AS other_domain \
         FROM found JOIN contacts t ON t.id = found.id \
         LEFT JOIN companies c ON c.business_id = t.business_id AND c.id = t.company_id AND c.deleted_at IS NULL",
    );
}

fn compare_company(sql: &mut Statement, prospect: &Prospect) {
    let domain = prospect.domain.as_deref();
    sql.sql("(similarity(rapport_company_name(t.name), rapport_company_name(").bind(prospect.name.as_deref());
    sql.sql(")) * 1000)::integer AS name_thousandths, false AS same_email, coalesce(t.external_id = ");
    sql.bind(prospect.external_id.as_deref());
    sql.sql(", false) AS same_external_id, coalesce(regexp_replace(lower(t.domain), '^www[.]', '') = ").bind(domain);
    sql.sql(", false) AS same_domain, coalesce(t.phone = ").bind(prospect.phone.as_deref());
    sql.sql(", false) AS same_phone, false AS similar_email, false AS same_company, ");
    sql.sql("coalesce(lower(t.domain) = lower(").bind(prospect.host.as_deref());
    sql.sql("), false) AS exact_domain, coalesce(regexp_replace(lower(t.domain), '^www[.]', '') <> ").bind(domain);
    sql.sql(", false) AS other_domain FROM found JOIN companies t ON t.id = found.id");
}
