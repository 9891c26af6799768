//! Builds the flows of signing in, and hands each to its HTTP handlers.

use std::sync::Arc;

use actix_web::web::{Data, ServiceConfig};

use super::accept_invitation::InvitationAcceptance;
use super::args::{OidcArgs, SignInArgs};
use super::email_links::EmailThrottle;
use super::oidc::{OidcLogin, Provider};
use super::password_change::PasswordChange;
use super::password_reset::PasswordReset;
use super::passwords::Passwords;
use super::send_invitation::InvitationSender;
use super::session_issuer::SessionIssuer;
use super::sign_in::SignIn;
use super::throttle::Throttle;
use crate::auth::Authenticator;
use crate::background::Supervisor;
use crate::base::email::Mailer;
use crate::base::error::Result;
use crate::db::Db;

/// Failures allowed per address, as a multiple of those per account: accounts share addresses, as behind a company's
/// router.
const ADDRESS_FACTOR: u32 = 20;

/// The flows of signing in.
#[derive(Clone)]
pub struct IdentityServices {
    sessions: Data<SessionIssuer>,
    sign_in: Data<SignIn>,
    password_change: Data<PasswordChange>,
    password_reset: Data<PasswordReset>,
    invitation_sender: Data<InvitationSender>,
    invitation_acceptance: Data<InvitationAcceptance>,
    oidc_login: Data<OidcLogin>,
}

impl IdentityServices {
    /// Starts the hashing threads; connects to nothing. Errors: 500 when threads cannot be started, or the options of
    /// email or identity provider are invalid.
    pub fn open(
        db: &Db,
        authenticator: Data<Authenticator>,
        args: &SignInArgs,
        oidc: &OidcArgs,
        mailer: Mailer,
        supervisor: &Supervisor,
    ) -> Result<Self> {
        let passwords = Arc::new(Passwords::start(args.password_threads, args.password_queue, supervisor)?);
        let accounts = Arc::new(Throttle::new(args.sign_in_attempts));
        let sessions = SessionIssuer::new(db.clone(), authenticator, args.session_days);
        let mailer = Arc::new(mailer);
        Ok(Self {
            sign_in: Data::new(SignIn {
                db: db.clone(),
                passwords: passwords.clone(),
                accounts: accounts.clone(),
                addresses: Throttle::new(args.sign_in_attempts.saturating_mul(ADDRESS_FACTOR)),
                sessions: sessions.clone(),
            }),
            password_change: Data::new(PasswordChange {
                db: db.clone(),
                passwords: passwords.clone(),
                accounts: accounts.clone(),
            }),
            password_reset: Data::new(PasswordReset {
                db: db.clone(),
                mailer: mailer.clone(),
                passwords: passwords.clone(),
                accounts,
                emails: EmailThrottle::new(),
                minutes: args.password_reset_minutes,
            }),
            invitation_sender: Data::new(InvitationSender {
                db: db.clone(),
                mailer,
                emails: EmailThrottle::new(),
                days: args.invitation_days,
            }),
            invitation_acceptance: Data::new(InvitationAcceptance {
                db: db.clone(),
                passwords,
                sessions: sessions.clone(),
            }),
            oidc_login: Data::new(OidcLogin {
                db: db.clone(),
                provider: Provider::open(oidc)?,
                sessions: sessions.clone(),
            }),
            sessions: Data::new(sessions),
        })
    }

    /// Registers the flows as the state which handlers extract.
    pub fn register(&self, app: &mut ServiceConfig) {
        app.app_data(self.sessions.clone())
            .app_data(self.sign_in.clone())
            .app_data(self.password_change.clone())
            .app_data(self.password_reset.clone())
            .app_data(self.invitation_sender.clone())
            .app_data(self.invitation_acceptance.clone())
            .app_data(self.oidc_login.clone());
    }
}
