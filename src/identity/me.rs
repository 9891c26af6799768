//! `GET /me`: who is calling, and what they may do.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value as Json, json};

use crate::auth::{Principal, Tenant};
use crate::base::error::Result;
use crate::db::{Db, Statement};
use crate::http::caller::Caller;
use crate::http::routing;

pub fn routes(api: &mut ServiceConfig) {
    routing::resource("/me").on(Method::GET, me).register(api);
}

async fn me(db: Data<Db>, caller: Caller, _: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    let business = caller.business();
    let principal = describe_principal(&db, &caller.own(), caller.principal()).await?;
    Ok(HttpResponse::Ok().json(json!({
        "principal": principal,
        "business": {
            "id": business.id,
            "country": business.country,
            "time_zone": business.time_zone,
            "currency": business.currency,
        },
        "role": caller.role().name(),
        "permissions": caller.own().permissions().names().collect::<Vec<_>>(),
        "sees": if caller.own().restricted_to_user().is_some() { "assigned" } else { "all" },
    })))
}

/// Returns the caller's kind, id, name, email address and session.
async fn describe_principal(db: &Db, own: &Tenant, principal: Principal) -> Result<Json> {
    let (kind, id, session, select) = match principal {
        Principal::Key(id) => ("api_key", id, None, "SELECT k.name, NULL::text FROM api_keys k WHERE k.business_id = "),
        Principal::User { id, session } => (
            "user",
            id,
            Some(session),
            "SELECT u.name, u.email FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.business_id = ",
        ),
    };
    let column = if session.is_some() { " AND u.id = " } else { " AND k.id = " };
    let mut sql = Statement::new(select);
    sql.bind(own.id()).push(column).bind(id);
    let row = db.for_tenant(own).read("me", move |conn| Ok(sql.row(conn)?)).await?;
    let text = |index| row.as_ref().and_then(|row| row.text(index)).map(str::to_owned);
    Ok(json!({ "kind": kind, "id": id, "name": text(0), "email": text(1), "session_id": session }))
}
