//! Passwords: hashed with argon2id, on threads of their own and a few at a time, so that sign-in cannot starve the service.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use crossbeam_channel::{Sender, bounded};
use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::jobs::{Supervisor, Task, guarded};

/// Characters of a password; NIST SP 800-63B asks for 8 at least and for no rules about their kinds.
pub const SHORTEST: usize = 10;
pub const LONGEST: usize = 200;

/// Memory in KiB, passes and lanes: OWASP's Password Storage Cheat Sheet, first choice for argon2id.
const COST: (u32, u32, u32) = (19_456, 2, 1);

/// Compared with when there is no such person, so that the answer takes as long as for one who is there.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$cmFwcG9ydC1ub2JvZHk$/sGpEN7MQ0vpoosb4yzsPJgHZg3kpz5TSmTLxR0fe8M";

type Job = Box<dyn FnOnce(&Argon2<'static>) + Send>;

/// The threads that hash.
pub struct Passwords {
    jobs: Sender<Job>,
}

impl Passwords {
    /// Starts `threads`, for which at most `queue` may wait. Errors: 500.
    pub fn start(threads: usize, queue: usize, supervisor: &Supervisor) -> Result<Self> {
        let (jobs, inbox) = bounded::<Job>(queue);
        for number in 0..threads {
            let (inbox, hasher) = (inbox.clone(), hasher()?);
            supervisor.spawn_thread(Task::named("password hashing"), format!("passwords-{number}"), move |pulse| {
                for job in &inbox {
                    // One job's panic is an answer of 500, not a pause for all who sign in.
                    if guarded("password", || job(&hasher)).is_ok() {
                        pulse.succeeded();
                    }
                }
                Ok(())
            })?;
        }
        Ok(Self { jobs })
    }

    /// The hash of `password`, as it is stored. Errors: 503 when too many wait.
    pub async fn hash(&self, password: String) -> Result<String> {
        self.run(move |hasher| hash(hasher, &password)).await?
    }

    /// Whether `password` is the one of `hash`; never, where there is none, after just as long. Errors: 503 when too many
    /// wait.
    pub async fn verify(&self, hash: Option<String>, password: String) -> Result<bool> {
        self.run(move |hasher| {
            let right = verifies(hasher, hash.as_deref().unwrap_or(NOBODY), &password);
            right && hash.is_some()
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, job: impl FnOnce(&Argon2<'static>) -> T + Send + 'static) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |hasher| drop(answer.send(job(hasher))));
        self.jobs.try_send(job).map_err(|_| Error::Unavailable {
            code: "busy",
            detail: "Too many people are signing in at once. Try again shortly.".into(),
            after: 2,
        })?;
        answered.await.map_err(|_| Error::Internal("a password could not be worked on".into()))
    }
}

fn hasher() -> Result<Argon2<'static>> {
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None).map_err(|error| Error::Internal(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(hasher: &Argon2<'_>, password: &str) -> Result<String> {
    let hashed = hasher.hash_password(password.as_bytes());
    hashed.map(|hash| hash.to_string()).map_err(|error| Error::Internal(format!("cannot hash: {error}")))
}

fn verifies(hasher: &Argon2<'_>, hash: &str, password: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| hasher.verify_password(password.as_bytes(), &hash).is_ok())
}

/// [`Passwords::hash`] without a service around it: for the command line.
pub fn hash_now(password: &str) -> Result<String> {
    hash(&hasher()?, password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_verifies_against_its_hash_only_and_nobody_takes_as_long_as_somebody() {
        let hasher = hasher().expect("parameters");
        let stored = hash(&hasher, "correct horse").expect("a hash");
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(verifies(&hasher, &stored, "correct horse") && !verifies(&hasher, &stored, "correct house"));
        // Not refused as malformed, which would be quick.
        assert!(PasswordHash::new(NOBODY).is_ok());
        assert!(!verifies(&hasher, "no hash at all", "correct horse"));
    }

    #[test]
    fn a_job_that_panics_takes_nobody_with_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let passwords = Passwords::start(1, 1, &Supervisor::default()).expect("a thread");
            let failed = passwords.run(|_| -> () { panic!("on purpose") }).await;
            assert!(matches!(failed, Err(Error::Internal(_))), "{failed:?}");
            assert!(passwords.hash("correct horse".into()).await.is_ok());
        });
    }
}
