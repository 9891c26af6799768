//! Response times: means, and percentiles from additive buckets of durations.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::figures::Figures;
use super::roll_up::{Micros, ONE};

/// How long people took to answer, at the time of the answer.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct ResponseFigures {
    /// Answers.
    pub count: i64,
    /// Null where there is none.
    #[schema(required = true)]
    pub mean_seconds: Option<f64>,
    /// Half of the answers took at most this long. It is wrong by 4.5 % at most.
    #[schema(required = true)]
    pub p50_seconds: Option<f64>,
    /// Nine of ten answers took at most this long. It is wrong by 4.5 % at most.
    #[schema(required = true)]
    pub p90_seconds: Option<f64>,
    /// How many answers there are in each bucket of durations.
    #[serde(skip)]
    durations: BTreeMap<i32, i64>,
    #[serde(skip)]
    micros: Micros,
}

impl Figures for ResponseFigures {
    fn add(&mut self, _: &str, values: &[&str], n: i64, amount: Micros) {
        let Some(bucket) = values.last().and_then(|bucket| bucket.parse().ok()) else { return };
        self.count += n;
        self.micros += amount;
        *self.durations.entry(bucket).or_default() += n;
    }

    fn settle(&mut self) {
        self.mean_seconds = (self.count > 0).then(|| rounded(self.micros as f64 / ONE as f64 / self.count as f64));
        self.p50_seconds = self.percentile(50);
        self.p90_seconds = self.percentile(90);
    }

    fn count(&self) -> i64 {
        self.count
    }
}

impl ResponseFigures {
    /// Returns the duration that `percent` of the answers did not exceed: the (geometric) middle of the bucket of the answer with
    /// that rank, of `rapport_duration_bucket`, eight to each doubling.
    fn percentile(&self, percent: i64) -> Option<f64> {
        let rank = (self.count * percent + 99) / 100;
        let mut passed = 0;
        let mut buckets = self.durations.iter();
        let bucket = buckets.find_map(|(bucket, n)| {
            passed += n;
            (passed >= rank && passed > 0).then_some(*bucket)
        })?;
        Some(rounded(((f64::from(bucket) + 0.5) / 8.0).exp2()))
    }
}

/// Returns the bucket of a duration: that of `rapport_duration_bucket`.
pub fn duration_bucket(seconds: f64) -> i32 {
    // (Of a second or more it is a number between 0 and the last bucket.)
    (8.0 * seconds.max(1.0).ln() / std::f64::consts::LN_2).floor().min(200.0) as i32
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn percentiles_are_within_their_error(mut seconds in prop::collection::vec(1.0f64..30_000_000.0, 1..80)) {
            let mut figures = ResponseFigures::default();
            for second in &seconds {
                figures.add("responses", &[&duration_bucket(*second).to_string()], 1, (*second * 1e6) as Micros);
            }
            figures.settle();
            seconds.sort_by(f64::total_cmp);
            for (percent, found) in [(50, figures.p50_seconds), (90, figures.p90_seconds)] {
                let exact = seconds[(seconds.len() * percent).div_ceil(100) - 1];
                let found = found.expect("a percentile");
                prop_assert!((found / exact - 1.0).abs() < 0.045, "p{percent}: {found} instead of {exact}");
            }
        }
    }
}
