//! How fast messages are handed to a channel: a number takes so many in a second, and a person one in six seconds, after a burst.
//!
//! The generic cell rate algorithm (ITU-T I.371): of each channel and each conversation the time is kept from which on it is free again;
//! each message moves it on, and a burst is how far it may lie ahead.

use chrono::{DateTime, TimeDelta, Utc};

/// The interval of messages to one person, and how many may go at once (R: Meta's "pair rate limit", 1 in 6 s, burst 45).
const PAIR_SECONDS: i64 = 6;
const PAIR_BURST: i64 = 45;
/// The part of a second's messages that may go at once: so in no second go many more than the rate.
const CHANNEL_BURST_PART: i64 = 8;

/// A rate, with what may go at once.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    interval: TimeDelta,
    burst: TimeDelta,
}

impl Pace {
    /// That of messages to one person.
    pub fn of_pair() -> Self {
        let interval = TimeDelta::seconds(PAIR_SECONDS);
        Self { interval, burst: interval * (PAIR_BURST - 1) as i32 }
    }

    /// That of a channel which takes so many messages in a second.
    pub fn of_channel(per_second: i64) -> Self {
        let per_second = per_second.max(1);
        let interval = TimeDelta::microseconds(1_000_000 / per_second);
        let at_once = (per_second / CHANNEL_BURST_PART).max(1);
        Self { interval, burst: interval * i32::try_from(at_once - 1).unwrap_or_default() }
    }

    /// Takes a turn at `now` if it may: then `free_at` moves on. Errors: when it may.
    pub fn take(self, free_at: &mut DateTime<Utc>, now: DateTime<Utc>) -> Result<(), DateTime<Utc>> {
        let allowed_at = *free_at - self.burst;
        if allowed_at > now {
            return Err(allowed_at);
        }
        *free_at = (*free_at).max(now) + self.interval;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(milliseconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_795_860_000_000 + milliseconds).unwrap_or_default()
    }

    #[test]
    fn pair_takes_a_burst_of_45_and_then_one_in_six_seconds() {
        let (pace, mut free_at) = (Pace::of_pair(), at(-1_000_000));
        let taken = (0..60).filter(|_| pace.take(&mut free_at, at(0)).is_ok()).count();
        assert_eq!(taken, 45);
        assert_eq!(pace.take(&mut free_at, at(5_999)), Err(at(6_000)));
        assert_eq!(pace.take(&mut free_at, at(6_000)), Ok(()));
        assert_eq!(pace.take(&mut free_at, at(6_000)), Err(at(12_000)));
    }

    proptest! {
        /// Whenever turns are asked for, no second has more than the rate and the burst.
        #[test]
        fn no_second_has_more_than_rate_and_burst(per_second in 1_i64..200, pauses in prop::collection::vec(0_i64..40, 1..400)) {
            let (pace, mut free_at, mut now, mut taken) = (Pace::of_channel(per_second), at(-10_000), 0, Vec::new());
            for pause in pauses {
                now += pause;
                if pace.take(&mut free_at, at(now)).is_ok() {
                    taken.push(now);
                }
            }
            let most = per_second + (per_second / CHANNEL_BURST_PART).max(1);
            for first in &taken {
                let within = taken.iter().filter(|moment| (*first..first + 1000).contains(*moment)).count() as i64;
                prop_assert!(within <= most, "{within} in a second, at a rate of {per_second}");
            }
        }
    }
}
