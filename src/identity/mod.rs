//! Users, memberships, invitations and API keys of a business, and sign-in by password ([`sign_in`]) or identity
//! provider ([`oidc`]).

mod accept_invitation;
pub mod api_keys;
pub mod args;
pub mod businesses;
pub mod dto;
pub mod email_flows;
mod email_templates;
pub mod http;
pub mod invitations;
pub mod memberships;
pub mod oidc;
mod password_reset;
pub mod passwords;
pub mod provisioning;
pub mod sessions;
pub mod sign_in;
mod throttle;
pub mod users;
