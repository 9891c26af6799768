//! Records what came of handing a message over: on the attempt, on its message, and on a channel that does not work.

use chrono::Utc;
use serde_json::{Value as Json, json};

use super::claim::ClaimedAttempt;
use super::outbound::{Refusal, SendOutcome};
use super::{failures, pause, send_limits, settle};
use crate::auth::Tenant;
use crate::base::error::Result;
#[cfg(feature = "mutants")]
use crate::base::mutants::{self, Mutant};
use crate::channels::inbound::{locks, waiting};
use crate::channels::whatsapp::error_codes::ErrorPolicy;
use crate::db::{Statement, Tx};

/// How long a status may settle what is uncertain, in minutes: Meta's statuses come within seconds mostly.
const UNCERTAIN_MINUTES: i64 = 5;
/// How often a message that the channel cannot take is tried: for an hour about, then who answers a customer has to know.
const MAX_TRIES: i32 = 17;
/// As often where the error may be about this message, for six minutes about: others of its conversation wait for it.
const MAX_TRIES_OF_UNCLEAR: i32 = 5;
/// Pauses between tries are 4^n seconds, up to this n.
const MAX_PAUSE_EXPONENT: u32 = 4;
/// How long an attempt waits whose channel was paused by its error: it goes on with the channel.
const AFTER_PAUSE_SECONDS: i64 = 1;

/// Records the outcome, unless another process has claimed the attempt since, or a status has settled it. Queries: a handful.
pub fn record(tx: &mut Tx<'_>, tenant: &Tenant, attempt: &ClaimedAttempt, outcome: &SendOutcome) -> Result<()> {
    match outcome {
        SendOutcome::Accepted { external_id } => {
            locks::messages(tx, tenant, [external_id.as_str()])?;
            accept(tx, tenant, attempt, external_id)
        }
        SendOutcome::NotSent(text) => {
            let error = json!({ "code": "not_sent", "title": "The channel cannot be reached.", "details": text });
            try_again(tx, tenant, attempt, &error)
        }
        #[cfg(feature = "mutants")]
        SendOutcome::Unknown(text) if mutants::is(Mutant::AnswerLostResent) => {
            try_again(tx, tenant, attempt, &json!({ "code": "not_sent", "title": text }))
        }
        SendOutcome::Unknown(text) => be_uncertain(tx, tenant, attempt, text),
        SendOutcome::Refused(refusal) => {
            let Refusal { code, title, details } = refusal;
            let error = json!({ "code": code, "title": title, "details": details });
            match refusal.policy() {
                ErrorPolicy::Later => try_again(tx, tenant, attempt, &error),
                ErrorPolicy::ChannelPaused => {
                    pause::pause(tx, tenant, attempt.channel_id, &error, Utc::now())?;
                    requeue(tx, tenant, attempt, AFTER_PAUSE_SECONDS, &error).map(drop)
                }
                _ => fail(tx, tenant, attempt, &error),
            }
        }
    }
}

/// Records that an attempt whose time is over has no outcome. Queries: as [`record`].
pub fn give_up(tx: &mut Tx<'_>, tenant: &Tenant, attempt: &ClaimedAttempt) -> Result<()> {
    let details =
        "It was handed to the channel, and nothing says whether it arrived. Ask the customer before it is sent again.";
    let error = json!({ "code": "unknown_outcome", "title": "The outcome is not known.", "details": details });
    fail(tx, tenant, attempt, &error)
}

/// Notes that the channel has the message of an attempt, by this id, which is locked. Queries: three, and those of what waited for it.
fn accept(tx: &mut Tx<'_>, tenant: &Tenant, attempt: &ClaimedAttempt, external_id: &str) -> Result<()> {
    let mut sql = Statement::new(
        "UPDATE message_attempts SET state = 'accepted', error = NULL, finished_at = now(), version = version + 1, updated_at = now(), external_id = ",
    );
    sql.bind(external_id).append(of_claim(tenant, attempt));
    if sql.run(tx)? == 0 {
        return Ok(());
    }
    if attempt.is_reaction() {
        return Ok(());
    }
    settle::give_id(tx, tenant, attempt.message_id, external_id)?;
    waiting::apply(tx, tenant, &[external_id])
}

/// Has an attempt tried again later, or fails it when it was tried for long.
fn try_again(tx: &mut Tx<'_>, tenant: &Tenant, attempt: &ClaimedAttempt, error: &Json) -> Result<()> {
    let most = if is_often_lasting(&error["code"]) { MAX_TRIES_OF_UNCLEAR } else { MAX_TRIES };
    if attempt.tries >= most {
        return fail(tx, tenant, attempt, error);
    }
    let pause = 4_i64.pow(u32::try_from(attempt.tries).unwrap_or_default().min(MAX_PAUSE_EXPONENT));
    if is_of_number(&error["code"]) {
        send_limits::hold(tx, tenant, attempt.channel_id, pause)?;
    }
    requeue(tx, tenant, attempt, pause, error)
}

/// Whether the code says that the number, or its account, has sent too much: then its other messages wait, too.
fn is_of_number(code: &Json) -> bool {
    matches!(code.as_i64(), Some(4 | 80_007 | 130_429))
}

/// Whether the code says that something went wrong, and not what.
fn is_often_lasting(code: &Json) -> bool {
    matches!(code.as_i64(), Some(1 | 2 | 131_000))
}

fn requeue(tx: &mut Tx<'_>, tenant: &Tenant, attempt: &ClaimedAttempt, seconds: i64, error: &Json) -> Result<()> {
    let mut sql = Statement::new("UPDATE message_attempts SET state = 'queued', tries = tries + 1, due_at = now() + ");
    sql.bind(seconds).sql(" * interval '1 second', version = version + 1, updated_at = now(), error = ");
    sql.bind(failures::with_retry(error)).append(of_claim(tenant, attempt)).run(tx)?;
    Ok(())
}

fn be_uncertain(tx: &mut Tx<'_>, tenant: &Tenant, attempt: &ClaimedAttempt, text: &str) -> Result<()> {
    let error = json!({ "code": "unknown_outcome", "title": "The channel did not answer.", "details": text });
    let mut sql = Statement::new("UPDATE message_attempts SET state = 'uncertain', due_at = now() + ");
    sql.bind(UNCERTAIN_MINUTES).sql(" * interval '1 minute', version = version + 1, updated_at = now(), error = ");
    if sql.bind(failures::with_retry(&error)).append(of_claim(tenant, attempt)).run(tx)? == 0 || attempt.is_reaction() {
        return Ok(());
    }
    let mut sql = Statement::new(
        "UPDATE messages SET version = version + 1, updated_at = now(), status = 'uncertain' WHERE status = 'queued' AND business_id = ",
    );
    sql.bind(tenant.id()).sql(" AND id = ").bind(attempt.message_id).run(tx)?;
    Ok(())
}

fn fail(tx: &mut Tx<'_>, tenant: &Tenant, attempt: &ClaimedAttempt, error: &Json) -> Result<()> {
    let mut sql = Statement::new(
        "UPDATE message_attempts SET state = 'failed', finished_at = now(), version = version + 1, updated_at = now(), error = ",
    );
    if sql.bind(failures::with_retry(error)).append(of_claim(tenant, attempt)).run(tx)? == 0 {
        return Ok(());
    }
    match attempt.is_reaction() {
        true => failures::take_reaction_back(tx, tenant, attempt.message_id, attempt.number),
        false => failures::fail_message(tx, tenant, attempt.message_id, error),
    }
}

/// The condition of the attempt, under this claim and without an outcome.
fn of_claim(tenant: &Tenant, attempt: &ClaimedAttempt) -> Statement {
    let mut sql = Statement::new(" WHERE state IN ('sending', 'uncertain') AND business_id = ");
    sql.bind(tenant.id()).sql(" AND id = ").bind(attempt.id);
    #[cfg(feature = "mutants")]
    if mutants::is(Mutant::AttemptClaimUnchecked) {
        return sql;
    }
    sql.sql(" AND claim = ").bind(attempt.claim);
    sql
}
