//! What a job is: a kind, which is code, and what one job of it was given, which is a row.

use serde_json::Value as Json;
use uuid::Uuid;

use crate::auth::{Business, Tenant};
use crate::db::Tx;
use crate::error::Result;

/// A kind of job. Which there are is listed in [`crate::duties`]; what makes one names it to [`super::enqueue`].
pub struct Kind {
    /// As rows name it: it must not change while there are some.
    pub name: &'static str,
    /// Does a little of it: at most about a second's work, because who cancels it waits for the step, and what else it locks
    /// is locked as long. Each step is one transaction of the job's business, under its maker's permissions and name, and
    /// what it sets in the [`Job`] is committed with the rows that it changed: so each step is done exactly once, whatever
    /// becomes of the process. It may be called again when its transaction is rolled back.
    ///
    /// Errors: what a second try could not mend (a fault of the input) fails the job at once; anything else is tried again a
    /// few times, after a pause.
    pub step: fn(&mut Tx<'_>, &Tenant, &Business, &mut Job) -> Result<Step>,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// There is more to do.
    More,
    /// It is done; an object for whoever asked, or null.
    Done(Json),
}

/// A job, as its step sees it.
#[derive(Clone, Debug)]
pub struct Job {
    pub id: Uuid,
    /// What it was made with.
    pub input: Json,
    /// Where it goes on, in whatever form the kind likes; null at first. A step sets it.
    pub cursor: Json,
    /// How many rows there are to do, where that is known. A step sets it.
    pub total: Option<i64>,
    /// How many are done, and how many of these were refused. A step sets them.
    pub done: i64,
    pub failed: i64,
}
