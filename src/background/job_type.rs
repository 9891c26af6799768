//! Defines a job type, which is code, and a job of it, which is a row.

use std::any::Any;

use diesel::QueryableByName;
use diesel::backend::Backend;
use diesel::deserialize;
use diesel::row::NamedRow;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::auth::{Tenant, TenantSettings};
use crate::base::error::Result;
use crate::db::Tx;
use crate::db::schema::job_runs;

/// A type of job. A [`Worker`](super::Worker) is given all of them; [`super::enqueue`] creates a job of one.
pub struct JobType {
    /// Its name in rows: it must not change while there are some.
    pub name: &'static str,
    /// Does one step: at most about a second of work, because a cancellation waits for the step and its locks last as
    /// long. Each step is one transaction of the job's business, with its creator's permissions and name, and what it
    /// sets in the [`Job`] is committed with the rows that it changes: so each step is applied exactly once, even if
    /// the process dies. It may be called again when its transaction is rolled back.
    ///
    /// Errors: one that a retry cannot fix (invalid input) fails the job at once; any other is retried a few times,
    /// with backoff.
    pub step: fn(&mut Tx<'_>, &Tenant, &TenantSettings, &mut Job) -> Result<Step>,
}

/// The result of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// There are more steps.
    More,
    /// The job is done; its result is an object, or null.
    Done(Json),
}

/// A job as its step sees it.
#[derive(QueryableByName)]
#[diesel(table_name = job_runs)]
pub struct Job {
    pub id: Uuid,
    /// The input that it was created with.
    pub input: Json,
    /// Its checkpoint, in any form that the job type likes; null at first. A step sets it.
    pub cursor: Json,
    /// How many rows there are to process, if that is known. A step sets it.
    pub total: Option<i64>,
    /// How many are processed, and how many of these were rejected. A step sets them.
    pub done: i64,
    pub failed: i64,
    /// What the step before prepared in memory.
    #[diesel(embed)]
    pub prepared: Prepared,
}

/// What a step has prepared in memory for the next one. It only saves time: the next step may run in another process,
/// or again, and then does without it.
#[derive(Default)]
pub struct Prepared(Option<Box<dyn Any + Send>>);

impl Prepared {
    /// Keeps `value`, if there is one, for the next step.
    pub fn keep<T: Any + Send>(&mut self, value: Option<T>) {
        self.0 = value.map(|value| Box::new(value) as Box<dyn Any + Send>);
    }

    /// Takes what was kept, if it is a `T`.
    pub fn take<T: Any>(&mut self) -> Option<T> {
        self.0.take()?.downcast().ok().map(|value| *value)
    }
}

/// It has no column.
impl<DB: Backend> QueryableByName<DB> for Prepared {
    fn build<'row>(_row: &impl NamedRow<'row, DB>) -> deserialize::Result<Self> {
        Ok(Self::default())
    }
}
