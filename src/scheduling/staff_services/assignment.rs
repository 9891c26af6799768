//! Adds services to what a member of staff performs, and removes them.

use actix_web::web::Bytes;
use diesel::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::resource::STAFF_SERVICES;
use crate::auth::{Tenant, TenantSettings};
use crate::base::error::Result;
use crate::db::schema::staff_services;
use crate::db::{Statement, Tx};
use crate::http::idempotency::ApiResponse;
use crate::http::precondition::IfMatch;
use crate::resource::body::{self, ValidationErrors};
use crate::resource::http::API;
use crate::resource::list_query::Projection;
use crate::resource::{Changeset, crud};
use crate::scheduling::staff::STAFF;

/// Reads the body of a request about the member `staff`. Errors: 400; 422 with all validation errors.
pub fn read(body: &Bytes, depth: usize, staff: Uuid, business: &TenantSettings) -> Result<Changeset> {
    let mut members = body::members(body, depth)?;
    let mut errors = ValidationErrors::default();
    body::refuse(&mut members, &["staff_id"], &mut errors);
    members.insert("staff_id".into(), json!(staff));
    errors.and(Changeset::parse(&STAFF_SERVICES, members.into(), true, business))
}

/// Adds a service. Errors: 404 when there is no such member; 409 when they perform it already; 422 when there is no such service.
pub fn add(tx: &mut Tx<'_>, tenant: &Tenant, staff: Uuid, change: Changeset) -> Result<ApiResponse> {
    crud::one(tx, tenant, &STAFF, staff, &Projection::default())?.ok_or_else(|| crud::not_found(&STAFF))?;
    let (id, row) = crud::create(tx, tenant, &STAFF_SERVICES, change)?;
    Ok(row.created(format!("{API}/{}/{id}", STAFF_SERVICES.path())))
}

/// The row of a member and a service.
#[derive(QueryableByName)]
#[diesel(table_name = staff_services)]
struct Link {
    id: Uuid,
}

/// Removes a service. Errors: 404 when they do not perform it; 412.
pub fn remove(tx: &mut Tx<'_>, tenant: &Tenant, staff: Uuid, service: Uuid, expected: IfMatch) -> Result<()> {
    let mut sql = Statement::new("SELECT id FROM staff_services WHERE business_id = ");
    sql.bind(tenant.id()).sql(" AND staff_id = ").bind(staff).sql(" AND service_id = ").bind(service);
    let link = sql.first::<Link>(tx)?.ok_or_else(|| crud::not_found(&STAFF_SERVICES))?;
    crud::delete(tx, tenant, &STAFF_SERVICES, link.id, expected)
}
