//! Sign-in with an identity provider: OpenID Connect, authorization code flow with PKCE, nonce and state.
//!
//! The front end requests an authorization URL for the browser, and a secret which it keeps. The provider redirects the
//! browser back to the front end with a code and the state; these and the secret are exchanged for a session. The
//! secret binds the redirect to the browser which began: nobody can be signed in by a link which another person has
//! begun.
//!
//! [`provider`] talks to the identity provider, [`store`] keeps login attempts and external identities, [`login`] is
//! the flow, [`http`] its handlers.

pub mod http;
mod login;
mod provider;
mod store;

pub use self::login::OidcLogin;
pub use self::provider::Provider;
