//! The funnel: how far the leads have come that entered in a period.

use chrono::NaiveDate;
use serde::Serialize;
use utoipa::ToSchema;

use super::figures::{Figures, share};
use super::responses::ResponseFigures;
use super::roll_up::Micros;
use crate::crm::STAGES;

/// The last step of the funnel, after the stages.
const WON: &str = "won";

/// How far the leads have come that entered in a period, and how long they waited for a first answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Funnel {
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
    /// Of which the days are.
    pub time_zone: String,
    /// When the figures were computed. Nothing that they count has changed since.
    #[schema(format = DateTime)]
    pub as_of: String,
    /// By what the leads are divided; null where they are not.
    #[schema(required = true)]
    pub group_by: Option<&'static str>,
    /// The stages in order, and `won`; with `group_by` those of each group, the largest groups first.
    pub data: Vec<FunnelStage>,
    /// From the entry of a lead to when someone first answered it.
    pub first_touch: ResponseFigures,
    /// How many groups are left out, which are the smallest.
    pub groups_left_out: u32,
    /// With `compare=previous`: the same number of days before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub previous: Option<PreviousFunnel>,
}

/// The funnel of the same number of days before.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PreviousFunnel {
    pub from: NaiveDate,
    pub to: NaiveDate,
    pub data: Vec<FunnelStage>,
    pub first_touch: ResponseFigures,
}

/// A stage of the funnel.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FunnelStage {
    pub stage: &'static str,
    /// With `group_by`: of which group; null: of leads without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, required = false)]
    pub group: Option<Option<String>>,
    /// Leads that have ever come this far; those that were won have passed every stage.
    pub reached: i64,
    /// Leads that are at this stage now.
    pub current: i64,
    /// Leads that were lost, and had not come further.
    pub lost: i64,
    /// `reached` of all that entered; null where none did.
    #[schema(required = true)]
    pub conversion: Option<f64>,
    /// `reached` of those that reached the stage before; null for the first one, and where none did.
    #[schema(required = true)]
    pub from_previous: Option<f64>,
}

/// Leads by stage, of which the funnel is made.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FunnelFigures {
    /// Leads that are not lost or won by their stage now, then those that are won.
    current: [i64; STEPS],
    /// Leads that are lost, by how far they had come.
    lost: [i64; STEPS],
    /// Leads by the furthest that they have come.
    furthest: [i64; STEPS],
    #[serde(skip)]
    pub first_touch: ResponseFigures,
}

const STEPS: usize = STAGES.len() + 1;

fn step(stage: &str) -> usize {
    STAGES.iter().position(|known| *known == stage).unwrap_or(0)
}

impl Figures for FunnelFigures {
    fn add(&mut self, metric: &str, values: &[&str], n: i64, amount: Micros) {
        if metric == "leads.first_touch" {
            self.first_touch.add(metric, values, n, amount);
            return;
        }
        let [status, furthest] = values else { return };
        match *status {
            WON => {
                self.current[STEPS - 1] += n;
                self.furthest[STEPS - 1] += n;
            }
            "lost" => {
                self.lost[step(furthest)] += n;
                self.furthest[step(furthest)] += n;
            }
            stage => {
                self.current[step(stage)] += n;
                self.furthest[step(furthest)] += n;
            }
        }
    }

    fn settle(&mut self) {
        self.first_touch.settle();
    }

    fn count(&self) -> i64 {
        self.furthest.iter().sum()
    }
}

impl FunnelFigures {
    /// Returns the stages; `group` where leads are divided.
    pub fn stages(&self, group: Option<&Option<String>>) -> Vec<FunnelStage> {
        let entered = self.count();
        let reached = |step: usize| self.furthest[step..].iter().sum::<i64>();
        let names = STAGES.iter().copied().chain([WON]).enumerate();
        let stage = |(step, stage): (usize, &'static str)| FunnelStage {
            stage,
            group: group.cloned(),
            reached: reached(step),
            current: self.current[step],
            lost: self.lost[step],
            conversion: share(reached(step), entered),
            from_previous: step.checked_sub(1).and_then(|before| share(reached(step), reached(before))),
        };
        names.map(stage).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Every lead is at one place, and none reaches a stage without having reached the one before.
        #[test]
        fn funnel_narrows(leads in prop::collection::vec((0usize..6, 0usize..4), 0..60)) {
            let statuses = ["new", "contacted", "qualified", "proposal", "won", "lost"];
            let mut figures = FunnelFigures::default();
            for (status, furthest) in &leads {
                // A stage that a lead is at, it has reached.
                let furthest = if *status < 4 { (*furthest).max(*status) } else { *furthest };
                figures.add("leads", &[statuses[*status], STAGES[furthest]], 1, 0);
            }
            let stages = figures.stages(None);
            prop_assert_eq!(stages.iter().map(|stage| stage.current + stage.lost).sum::<i64>(), leads.len() as i64);
            prop_assert_eq!(stages[0].reached, leads.len() as i64);
            prop_assert!(stages.windows(2).all(|two| two[0].reached >= two[1].reached));
            let won = leads.iter().filter(|(status, _)| *status == 4).count() as i64;
            prop_assert_eq!(stages[4].reached, won);
            prop_assert!(stages.iter().all(|stage| stage.conversion.is_none_or(|share| (0.0..=1.0).contains(&share))));
        }
    }
}
