//! HTTP handlers of the email flows: password reset, and creating and accepting invitations.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::HttpMethod;

use super::dto::{EMAIL, SIGNED_IN, new_password};
use super::http::{device, secret};
use super::invitations::INVITATIONS;
use super::sign_in::SignIn;
use crate::auth::Action;
use crate::base::error::Result;
use crate::http::caller::Caller;
use crate::http::routing::{self, Routes};
use crate::resource::action_body::ActionBody;
use crate::resource::http::no_parameters;
use crate::resource::openapi::{Act, Gives};
use crate::resource::{Changeset, Field, body};

/// Maximum nesting of an invitation's body.
const DEPTH: usize = 4;

static RESET: [Field; 1] = [EMAIL.required()];
static NEW_PASSWORD: [Field; 2] = [
    Field::text("token", 200, r#""pt_9Qa…""#, "From the link in the mail. It counts once.").required(),
    new_password("password", "The password from now on.").required(),
];
static JOINING: [Field; 3] = [
    Field::text("token", 200, r#""in_9Qa…""#, "From the link in the mail. It counts once.").required(),
    new_password("password", "For who has none yet; who has one keeps it."),
    Field::text(
        "name",
        200,
        r#""Bo Lindqvist""#,
        "For who is new: as others will see it, if not as the invitation says.",
    ),
];

pub fn routes(api: &mut ServiceConfig) {
    routing::resource("/auth/password-resets").open(Method::POST, ask_for_reset).register(api);
    routing::resource("/auth/passwords").open(Method::POST, reset_password).register(api);
    routing::resource("/auth/invitations").open(Method::POST, join).register(api);
}

/// Registers the operation which creates invitations.
pub fn creation(many: Routes) -> Routes {
    many.on(Method::POST, invite)
}

async fn ask_for_reset(state: Data<SignIn>, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let email = ActionBody::read(&body, &RESET)?.required("email");
    state.ask_for_reset(&email, &device(&request).address.unwrap_or_default())?;
    Ok(HttpResponse::Accepted().finish())
}

async fn reset_password(state: Data<SignIn>, _: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let form = ActionBody::read(&body, &NEW_PASSWORD)?;
    state.reset_password(&form.required("token"), form.required("password")).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn invite(state: Data<SignIn>, caller: Caller, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let tenant = caller.require(INVITATIONS.area, Action::Write)?;
    no_parameters(&request)?;
    let change = Changeset::parse(&INVITATIONS, body::json(&body, DEPTH)?, true, caller.business())?;
    state.invite(tenant, &request, &body, change).await
}

async fn join(state: Data<SignIn>, request: HttpRequest, body: Bytes) -> Result<HttpResponse> {
    let form = ActionBody::read(&body, &JOINING)?;
    let given = |name| form.text(name).map(str::to_owned);
    let joined = state.join(&form.required("token"), given("password"), given("name"), device(&request)).await?;
    Ok(secret(HttpResponse::Created(), &joined))
}

/// Adds these operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    let acts = [
        Act {
            method: HttpMethod::Post,
            path: "/auth/password-resets",
            tag: "auth",
            id: "askForPasswordReset",
            summary: "Ask for a new password",
            about: "Mails a link to a new password to the person with this address. The answer is the same whether \
                    there is someone, and so is its time. The link leads to the page `passwords` of the front end, with \
                    the token in the fragment: `/passwords#token=…`.",
            takes: &RESET,
            status: 202,
            gives: Gives::Nothing,
            problems: &[400, 408, 413, 415, 422, 429, 503],
            open: true,
        },
        Act {
            method: HttpMethod::Post,
            path: "/auth/passwords",
            tag: "auth",
            id: "resetPassword",
            summary: "Choose a new password",
            about: "With the token of a mail, which counts once. Ends all sessions of the person, in every business. A token \
                    that does not count any more gets 401 `token_over`.",
            takes: &NEW_PASSWORD,
            status: 204,
            gives: Gives::Nothing,
            problems: &[400, 401, 408, 413, 415, 422, 503],
            open: true,
        },
        Act {
            method: HttpMethod::Post,
            path: "/auth/invitations",
            tag: "auth",
            id: "acceptInvitation",
            summary: "Accept an invitation",
            about: "With the token of a mail, which counts once; its link leads to `/invitations#token=…`. Who has no password \
                    yet needs one (422 says so); who has one keeps it and sends none. Answers like signing in.",
            takes: &JOINING,
            status: 201,
            gives: Gives::Object(&SIGNED_IN),
            problems: &[400, 401, 403, 408, 413, 415, 422, 503],
            open: true,
        },
    ];
    acts.into_iter().for_each(|act| act.describe(api));
}
