//! Who may come in: users, memberships, invitations and API keys of a business, and sign-in.
//!
//! Resources: [`businesses`], [`users`], [`memberships`], [`invitations`], [`api_keys`]; [`role_rules`] says who may
//! grant a role. Flows, each a type that its HTTP handlers extract ([`services`]): [`sign_in`] by password, [`oidc`] by
//! an identity provider, [`password_change`], [`password_reset`], [`send_invitation`], [`accept_invitation`] ([`add_member`]); those
//! which sign a person in share the [`session_issuer`]. [`sessions`] and [`stored_passwords`] are in the database,
//! [`passwords`] are hashed on threads of their own, [`throttle`] counts failures. Handlers are in [`http`],
//! [`email_flows`] and [`me`], joined in [`routes`] and in [`openapi`]; their bodies are in [`requests`] and
//! [`responses`].

mod accept_invitation;
mod add_member;
pub mod api_keys;
pub mod args;
pub mod businesses;
mod credential_response;
mod device;
mod email_flows;
mod email_links;
mod email_templates;
mod http;
pub mod invitations;
mod me;
mod membership_choice;
pub mod memberships;
mod oidc;
pub mod openapi;
mod password_change;
mod password_reset;
pub mod passwords;
pub mod provisioning;
pub mod requests;
mod responses;
mod role_rules;
pub mod routes;
pub mod send_invitation;
pub mod services;
mod session_issuer;
mod sessions;
mod sign_in;
pub mod stored_passwords;
mod throttle;
pub mod users;
