//! `GET /me`: who is calling, and what they may do.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use diesel::QueryableByName;
use diesel::sql_types::{Nullable, Text};
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

/// How the caller is called.
#[derive(QueryableByName)]
struct CallerName {
    #[diesel(sql_type = Text)]
    name: String,
    /// `None` for an API key.
    #[diesel(sql_type = Nullable<Text>)]
    email: Option<String>,
}

/// Returns the caller's kind, id, name, email address and session.
async fn describe_principal(db: &Db, own: &Tenant, principal: Principal) -> Result<Json> {
    let mut sql = Statement::default();
    let (kind, id, session) = match principal {
        Principal::Key(id) => {
            sql.sql("SELECT k.name, NULL::text AS email FROM api_keys k WHERE k.business_id = ").bind(own.id());
            sql.sql(" AND k.id = ").bind(id);
            ("api_key", id, None)
        }
        Principal::User { id, session } => {
            sql.sql(
                "SELECT u.name, u.email FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.business_id = ",
            );
            sql.bind(own.id()).sql(" AND u.id = ").bind(id);
            ("user", id, Some(session))
        }
    };
    let found = db.for_tenant(own).read("me", move |conn| Ok(sql.first::<CallerName>(conn)?)).await?;
    let (name, email) = found.map(|CallerName { name, email }| (name, email)).unzip();
    Ok(json!({ "kind": kind, "id": id, "name": name, "email": email.flatten(), "session_id": session }))
}
