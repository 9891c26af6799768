//! Password hashing with argon2id, on a few dedicated threads, so that sign-in cannot starve other requests.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use crossbeam_channel::{Sender, bounded};
use tokio::sync::oneshot;

use crate::background::{Supervisor, Task, guarded};
use crate::base::error::{Error, Result};

/// Memory in KiB, passes and lanes: OWASP's Password Storage Cheat Sheet, first choice for argon2id.
const COST: (u32, u32, u32) = (19_456, 2, 1);

/// Verified if the person does not exist, so that the response takes as long as for one who does.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$cmFwcG9ydC1ub2JvZHk$/sGpEN7MQ0vpoosb4yzsPJgHZg3kpz5TSmTLxR0fe8M";

type Job = Box<dyn FnOnce(&Argon2<'static>) + Send>;

/// The hashing threads.
pub struct Passwords {
    jobs: Sender<Job>,
}

impl Passwords {
    /// Starts `threads` threads; at most `queue` jobs may wait for them. Errors: 500.
    pub fn start(threads: usize, queue: usize, supervisor: &Supervisor) -> Result<Self> {
        let (jobs, inbox) = bounded::<Job>(queue);
        for number in 0..threads {
            let (inbox, hasher) = (inbox.clone(), hasher()?);
            supervisor.spawn_thread(Task::named("password hashing"), format!("passwords-{number}"), move |pulse| {
                for job in &inbox {
                    // A job which panics is a 500 for one caller, and must not pause the thread for all.
                    if guarded("password", || job(&hasher)).is_ok() {
                        pulse.succeeded();
                    }
                }
                Ok(())
            })?;
        }
        Ok(Self { jobs })
    }

    /// Hashes `password` for storage. Errors: 503 when too many jobs wait.
    pub async fn hash(&self, password: String) -> Result<String> {
        self.run(move |hasher| hash(hasher, &password)).await?
    }

    /// Whether `password` is that of `hash`; false without a hash, after the same time. Errors: 503 when too many jobs
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

/// Hashes as [`Passwords::hash`] does, on the calling thread; for the command line.
pub fn hash_now(password: &str) -> Result<String> {
    hash(&hasher()?, password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verify_accepts_only_own_password_dummy_hash_is_valid() {
        let hasher = hasher().expect("parameters");
        let stored = hash(&hasher, "correct horse").expect("a hash");
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(verifies(&hasher, &stored, "correct horse") && !verifies(&hasher, &stored, "correct house"));
        // It must parse: a malformed hash would be refused quickly.
        assert!(PasswordHash::new(NOBODY).is_ok());
        assert!(!verifies(&hasher, "no hash at all", "correct horse"));
    }

    #[test]
    fn panicking_task_leaves_the_password_pool_working() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let passwords = Passwords::start(1, 1, &Supervisor::default()).expect("a thread");
            let failed = passwords.run(|_| -> () { panic!("on purpose") }).await;
            assert!(matches!(failed, Err(Error::Internal(_))), "{failed:?}");
            assert!(passwords.hash("correct horse".into()).await.is_ok());
        });
    }
}
