//! What holds in every state, and what must occur in some, or the model would show little.

use stateright::Property;

use super::protocol::Protocol;
use super::state::*;

pub(super) const NEVER_STALE: &str = "a read shows all that was committed when it began";

pub(super) fn of(model: &Protocol) -> Vec<Property<Protocol>> {
    let mut properties = vec![
        Property::always(NEVER_STALE, |_, state: &State| {
            !state.readers.iter().any(|reader| reader.phase == Phase::Ended { stale: true })
        }),
        Property::sometimes("what began first is committed last", |_, state: &State| {
            matches!(state.writers, [Writer::Open(_), Writer::Committed(_), ..])
        }),
        Property::sometimes("a hit in the local tier shows what it must", |_, state: &State| {
            let hits = |reader: &Reader| !state.replicas[reader.replica].entries.is_empty();
            state.ready().any(|(reader, _)| reader.required != 0 && hits(reader))
        }),
        Property::sometimes("an entry of Redis shows what it must", |model: &Protocol, state: &State| {
            let hits = |reader: &Reader, round| model.in_redis(state, reader, round).next().is_some();
            state.ready().any(|(reader, round)| reader.required != 0 && hits(reader, round))
        }),
        Property::sometimes("an entry of Redis is valid in spite of the flag", |model: &Protocol, state: &State| {
            let has_flag = |replica: &Replica| replica.slots.iter().flatten().any(|(_, last)| last.several);
            let mut ready = state.ready().filter(|(reader, _)| has_flag(&state.replicas[reader.replica]));
            ready.any(|(reader, round)| model.in_redis(state, reader, round).next().is_some())
        }),
        Property::sometimes("a process that starts after a trimming uses Redis", |model: &Protocol, state: &State| {
            let is_late = |round: Base| round.known_since != Snapshot::FIRST && round.known_since != round.snapshot;
            let mut ready = state.ready().filter(|(reader, round)| reader.replica == 1 && is_late(*round));
            ready.any(|(reader, round)| model.in_redis(state, reader, round).next().is_some())
        }),
        Property::sometimes("a reader shares the result of an earlier round", |model: &Protocol, state: &State| {
            let mut ready = state.ready().filter(|(reader, _)| reader.required != 0);
            ready.any(|(reader, round)| model.shared(state, reader).any(|(base, _)| base.snapshot != round.snapshot))
        }),
        Property::sometimes("a result in flight is outdated", |model: &Protocol, state: &State| {
            let outdated =
                |reader: &Reader| model.shared(state, reader).count() < state.in_flight(reader.replica).count();
            state.ready().any(|(reader, _)| outdated(reader))
        }),
        Property::sometimes("a round finds a gap", |_, state: &State| {
            let is_truncated = state.committed().any(|(_, change)| change == Change::Truncate);
            let raises = |round: Round| round.epoch == 0 && round.known_since.is_some();
            !is_truncated && state.replicas.iter().any(|replica| replica.sent.is_some_and(raises))
        }),
        Property::sometimes("a whole table counts as changed", |_, state: &State| {
            state.replicas.iter().any(|replica| replica.slots[WHOLE].is_some())
        }),
    ];
    if model.all_kinds {
        properties.push(Property::sometimes("a hit in spite of changes since its base", |_, state: &State| {
            let others = |round: Base| {
                state.committed().any(|(xid, change)| round.snapshot.sees(xid) && !change.concerns(xid, state.tag))
            };
            let hits = |reader: &Reader| state.replicas[reader.replica].entries.contains(&(0, 0));
            state.ready().any(|(reader, round)| others(round) && hits(reader))
        }));
    }
    if model.ahead {
        properties.push(Property::sometimes(
            "what a reader has read ahead is outdated by its round",
            |_, state: &State| {
                let is_outdated = |reader: &Reader| {
                    reader.ahead.is_some_and(|(base, _)| !state.replicas[reader.replica].is_current(base.number))
                };
                state.ready().any(|(reader, _)| is_outdated(reader))
            },
        ));
    }
    if model.restarts > 0 {
        properties.push(Property::sometimes("a round is delivered after a restart", |_, state: &State| {
            state.replicas.iter().any(|replica| replica.sent.is_some_and(|round| round.epoch < state.epoch))
        }));
    }
    properties
}
