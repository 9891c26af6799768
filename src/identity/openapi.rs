//! OpenAPI of sign-in, `/me` and the rotation of API keys: the operations which are not generated from a resource.

use utoipa::openapi::OpenApi;
use utoipa::openapi::path::HttpMethod;

use super::api_keys::API_KEYS;
use super::dto::{
    BEGIN_LOGIN, COMPLETE_LOGIN, INVITATION_ACCEPTANCE, ME, PASSWORD_CHANGE, PASSWORD_RESET, PASSWORD_RESET_REQUEST,
    RENEWAL, ROTATION, SESSIONS, SIGN_IN, SIGNED_IN, TOKENS,
};
use crate::resource::openapi::{Act, Gives};

/// Adds these operations to the OpenAPI document.
pub fn describe(api: &mut OpenApi) {
    let acts = [
        Act {
            method: HttpMethod::Get,
            path: "/me",
            tag: "auth",
            id: "me",
            summary: "Who is calling, and what they may do",
            about: "Of the credential that the request carries: a person's access token or an API key.",
            takes: &[],
            status: 200,
            gives: Gives::Object(&ME),
            problems: &[401, 503],
            open: false,
        },
        Act {
            method: HttpMethod::Post,
            path: "/auth/sessions",
            tag: "auth",
            id: "signIn",
            summary: "Sign in",
            about: "Answers with a short-lived access token and a refresh token. Who belongs to several businesses and \
                    names none gets 409 `choose_business` with their slugs. Wrong passwords are counted by account and \
                    by address; after too many, 429 says when to try again.",
            takes: &SIGN_IN,
            status: 201,
            gives: Gives::Object(&SIGNED_IN),
            problems: &[400, 401, 403, 408, 409, 413, 415, 422, 429, 503],
            open: true,
        },
        Act {
            method: HttpMethod::Get,
            path: "/auth/sessions",
            tag: "auth",
            id: "listSessions",
            summary: "List one's own sessions",
            about: "Of this business, the last used first; at most 100. For people only.",
            takes: &[],
            status: 200,
            gives: Gives::List(&SESSIONS),
            problems: &[401, 403, 503],
            open: false,
        },
        Act {
            method: HttpMethod::Delete,
            path: "/auth/sessions/{id}",
            tag: "auth",
            id: "signOut",
            summary: "Sign out",
            about: "Ends one's own session of this id, or the one that asks (`current`). Its tokens are refused from the \
                    next request on, on every replica.",
            takes: &[],
            status: 204,
            gives: Gives::Nothing,
            problems: &[401, 403, 404, 503],
            open: false,
        },
        Act {
            method: HttpMethod::Post,
            path: "/auth/tokens",
            tag: "auth",
            id: "renewTokens",
            summary: "Renew the tokens",
            about: "A refresh token counts once. One that comes again, later than a moment after, ends its session: \
                    either the person or a thief has used it before. Where one was sent twice within that moment, only one \
                    of the two that it gave may go on; so programs that share a session share its tokens.",
            takes: &RENEWAL,
            status: 200,
            gives: Gives::Object(&TOKENS),
            problems: &[400, 401, 408, 413, 415, 422, 503],
            open: true,
        },
        Act {
            method: HttpMethod::Post,
            path: "/auth/password-changes",
            tag: "auth",
            id: "changePassword",
            summary: "Change one's own password",
            about: "Ends all other sessions of the person, in every business.",
            takes: &PASSWORD_CHANGE,
            status: 204,
            gives: Gives::Nothing,
            problems: &[400, 401, 403, 408, 413, 415, 422, 429, 503],
            open: false,
        },
        Act {
            method: HttpMethod::Post,
            path: "/api-keys/{id}/rotation",
            tag: "api-keys",
            id: "rotateApiKey",
            summary: "Give an API key a new secret",
            about: "The new key is in the answer and is not shown again; the old one works for `overlap_seconds` more. \
                    While the one before that still does, another rotation is refused (409 `rotation_running`), unless \
                    `overlap_seconds` is 0: that ends both at once.",
            takes: &ROTATION,
            status: 200,
            gives: Gives::Created(&API_KEYS),
            problems: &[400, 401, 403, 404, 408, 409, 413, 415, 422, 503],
            open: false,
        },
        Act {
            method: HttpMethod::Post,
            path: "/auth/password-resets",
            tag: "auth",
            id: "askForPasswordReset",
            summary: "Ask for a new password",
            about: "Mails a link to a new password to the person with this address. The answer is the same whether \
                    there is someone, and so is its time. The link leads to the page `passwords` of the front end, with \
                    the token in the fragment: `/passwords#token=…`.",
            takes: &PASSWORD_RESET_REQUEST,
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
            takes: &PASSWORD_RESET,
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
            takes: &INVITATION_ACCEPTANCE,
            status: 201,
            gives: Gives::Object(&SIGNED_IN),
            problems: &[400, 401, 403, 408, 413, 415, 422, 503],
            open: true,
        },
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
