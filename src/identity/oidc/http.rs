//! HTTP handlers of sign-in with OpenID Connect, `/auth/oidc`.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::HttpMethod;

use crate::base::error::Result;
use crate::http::routing;
use crate::identity::dto::SIGNED_IN;
use crate::identity::http::{device, secret};
use crate::identity::sign_in::SignIn;
use crate::resource::action_body::ActionBody;
use crate::resource::openapi::{Act, Gives};
use crate::resource::{Field, FieldType};

static COMPLETE_LOGIN: [Field; 4] = [
    Field::text("code", 4_000, r#""SplxlOBeZQQYbYS6WxSbIA""#, "As the provider sent it back.").required(),
    Field::text("state", 200, r#""af0ifjsldkj""#, "As the provider sent it back.").required(),
    Field::text("secret", 200, r#""oi_9Qa…""#, "Of the departure; only the browser that left has it.").required(),
    Field::text("business", 63, r#""demo""#, "Slug of the business, for who belongs to several."),
];
static BEGIN_LOGIN: [Field; 3] = [
    Field::text("authorization_url", 4_000, r#""https://id.example.com/authorize?…""#, "Send the browser there.")
        .not_null(),
    Field::text("secret", 200, r#""oi_9Qa…""#, "Keep it in the browser until it is back.").not_null(),
    Field::new("expires_in", FieldType::Int { min: 0, max: 86_400 }, "600", "Seconds until it must be back.")
        .not_null(),
];

pub fn routes(api: &mut ServiceConfig) {
    routing::resource("/auth/oidc/authorizations").open(Method::POST, begin_login).register(api);
    routing::resource("/auth/oidc/sessions").open(Method::POST, complete_login).register(api);
}

async fn begin_login(state: Data<SignIn>, _: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    ActionBody::read(&body, &[])?;
    Ok(secret(HttpResponse::Created(), &state.begin_login().await?))
}

async fn complete_login(state: Data<SignIn>, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let form = ActionBody::read(&body, &COMPLETE_LOGIN)?;
    let (code, returned, key) = (form.required("code"), form.required("state"), form.required("secret"));
    let session = state.complete_login((&code, &returned, &key), form.text("business"), device(&request)).await?;
    Ok(secret(HttpResponse::Created(), &session))
}

/// Adds these operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    let acts = [
        Act {
            method: HttpMethod::Post,
            path: "/auth/oidc/authorizations",
            tag: "auth",
            id: "departToProvider",
            summary: "Begin to sign in with an identity provider",
            about: "Answers with the provider's address to send the browser to (OpenID Connect, authorization code with PKCE). \
                    The provider sends it back to the front end's page for it with `code` and `state`. 404 where no provider is configured.",
            takes: &[],
            status: 201,
            gives: Gives::Object(&BEGIN_LOGIN),
            problems: &[400, 404, 408, 413, 415, 422, 503],
            open: true,
        },
        Act {
            method: HttpMethod::Post,
            path: "/auth/oidc/sessions",
            tag: "auth",
            id: "arriveFromProvider",
            summary: "Sign in with what an identity provider sent back",
            about: "Counts once. The person whom the provider names is recognised by its name for them, the first time by \
                    the e-mail address that it has verified. Answers like signing in with a password.",
            takes: &COMPLETE_LOGIN,
            status: 201,
            gives: Gives::Object(&SIGNED_IN),
            problems: &[400, 401, 403, 404, 408, 409, 413, 415, 422, 503],
            open: true,
        },
    ];
    acts.into_iter().for_each(|act| act.describe(api));
}
