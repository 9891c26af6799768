//! `GET /me`: who is calling, and what they may do.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use diesel::QueryableByName;
use diesel::sql_types::{Nullable, Text};

use super::responses::{BusinessSettings, Me, Principal, PrincipalKind, Visibility};
use crate::auth::{self, Tenant};
use crate::base::error::Result;
use crate::db::{Db, Statement};
use crate::http::caller::Caller;
use crate::http::openapi_problems::{ServiceProblems, Unauthorized};
use crate::http::routing;

pub fn routes(api: &mut ServiceConfig) {
    routing::resource("/me").on(Method::GET, me).register(api);
}

#[utoipa::path(
    get,
    path = "/api/v1/me",
    tag = "auth",
    operation_id = "me",
    summary = "Who is calling, and what they may do",
    description = "Of the credential that the request carries: a person's access token or an API key.",
    responses(
        (status = 200, description = "Done.", body = Me),
        (status = 401, response = Unauthorized),
        ServiceProblems,
    )
)]
async fn me(db: Data<Db>, caller: Caller, _: HttpRequest, _: Bytes) -> Result<HttpResponse> {
    let (own, business) = (caller.own(), caller.business());
    Ok(HttpResponse::Ok().json(Me {
        principal: describe_principal(&db, &own, caller.principal()).await?,
        business: BusinessSettings {
            id: business.id,
            country: business.country.clone(),
            time_zone: business.time_zone.clone(),
            currency: business.currency.clone(),
        },
        role: caller.role(),
        permissions: own.permissions().iter().collect(),
        sees: if own.restricted_to_user().is_some() { Visibility::Assigned } else { Visibility::All },
    }))
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
async fn describe_principal(db: &Db, own: &Tenant, principal: auth::Principal) -> Result<Principal> {
    let mut sql = Statement::default();
    let (kind, id, session_id) = match principal {
        auth::Principal::Key(id) => {
            sql.sql("SELECT k.name, NULL::text AS email FROM api_keys k WHERE k.business_id = ").bind(own.id());
            sql.sql(" AND k.id = ").bind(id);
            (PrincipalKind::ApiKey, id, None)
        }
        auth::Principal::User { id, session } => {
            sql.sql(
                "SELECT u.name, u.email FROM memberships m JOIN users u ON u.id = m.user_id WHERE m.business_id = ",
            );
            sql.bind(own.id()).sql(" AND u.id = ").bind(id);
            (PrincipalKind::User, id, Some(session))
        }
    };
    let found = db.for_tenant(own).read("me", move |conn| Ok(sql.first::<CallerName>(conn)?)).await?;
    let (name, email) = found.map(|CallerName { name, email }| (name, email)).unzip();
    Ok(Principal { kind, id, name, email: email.flatten(), session_id })
}
