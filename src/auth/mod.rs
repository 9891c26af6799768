//! Authentication and authorization. `authenticator` remembers and confirms credentials, `credential_lookup` reads them
//! from the database, `identity` is what they stand for; `token` and `token_source` are access tokens. `roles` has roles and
//! permissions, `tenant` what a request may touch.

mod args;
mod authenticator;
mod credential_lookup;
mod identity;
mod roles;
mod secret;
mod tenant;
mod tenant_settings;
mod token;
mod token_source;

pub use self::args::CredentialArgs;
pub use self::authenticator::Authenticator;
pub use self::identity::{Credential, Hash, Identity, Principal, hash};
pub use self::roles::{Action, Area, Permission, Permissions, Role};
pub use self::secret::{random, secret};
pub use self::tenant::Tenant;
pub use self::tenant_settings::TenantSettings;
pub use self::token::{SessionClaims, Tokens};
