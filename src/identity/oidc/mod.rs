//! Sign-in with an identity provider: OpenID Connect, authorization code flow with PKCE, nonce and state.
//!
//! The front end requests an authorization URL for the browser, and a secret which it keeps. The provider redirects the
//! browser back to the front end with a code and the state; these and the secret are exchanged for a session. The
//! secret binds the redirect to the browser which began: nobody can be signed in by a link which another person has
//! begun.
//!
//! [`provider`] is the client of the identity provider: [`discovery`] its metadata and keys, [`token_request`] the
//! exchange of a code, [`id_token`] the verification of what that returns, [`fetch`] the requests. [`store`] keeps login
//! attempts and external identities, [`login`] is the flow, [`http`] its handlers.

mod discovery;
mod fetch;
pub mod http;
mod id_token;
mod login;
mod provider;
mod store;
mod token_request;

pub use self::login::OidcLogin;
pub use self::provider::Provider;
