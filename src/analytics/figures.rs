//! What statistics answer: figures that sums are added to.

use serde::Serialize;
use utoipa::ToSchema;

use super::amounts::{Amounts, Cost, Money, decimal};
use super::roll_up::{Micros, ONE, Sum};
use super::statistic::Source;

/// Figures that sums are added to, with their sign: `n` and `amount` are negative where they are taken away.
pub trait Figures: Clone + Default + Serialize {
    /// Adds a sum of `metric`, whose dimension has `values`.
    fn add(&mut self, metric: &str, values: &[&str], n: i64, amount: Micros);

    /// Computes what is not additive, once all is added.
    fn settle(&mut self) {}

    /// Returns how many rows are counted; a group without any is left out.
    fn count(&self) -> i64;

    /// Returns what groups are ordered by, and where that is equal, what else.
    fn rank(&self) -> (i64, i64) {
        (self.count(), 0)
    }
}

/// Returns the figures of `sources` in the buckets that `is_in` accepts.
pub fn figures_of<'s, F: Figures>(
    sources: impl IntoIterator<Item = &'s Source>,
    sums: &[Sum],
    is_in: impl Fn(usize) -> bool,
) -> F {
    let mut figures = F::default();
    for source in sources {
        for sum in sums.iter().filter(|sum| sum.metric == source.metric && is_in(sum.bucket)) {
            figures.add(source.metric, &source.split(&sum.dim).values, sum.n, sum.amount);
        }
    }
    figures.settle();
    figures
}

/// Returns the share `part` of `whole`, to four decimal places; `None` of nothing.
pub fn share(part: i64, whole: i64) -> Option<f64> {
    (whole != 0).then(|| (part as f64 / whole as f64 * 1e4).round() / 1e4)
}

/// Bookings by their status, at the time for which they are booked.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct BookingFigures {
    pub total: i64,
    pub held: i64,
    pub pending: i64,
    pub confirmed: i64,
    pub completed: i64,
    pub cancelled: i64,
    pub no_show: i64,
    /// `no_show` of `no_show` and `completed`; null where there is neither.
    #[schema(required = true)]
    pub no_show_rate: Option<f64>,
}

impl Figures for BookingFigures {
    fn add(&mut self, _: &str, values: &[&str], n: i64, _: Micros) {
        self.total += n;
        match values.first().copied().unwrap_or_default() {
            "held" => self.held += n,
            "pending" => self.pending += n,
            "confirmed" => self.confirmed += n,
            "completed" => self.completed += n,
            "cancelled" => self.cancelled += n,
            "no_show" => self.no_show += n,
            _ => {}
        }
    }

    fn settle(&mut self) {
        self.no_show_rate = share(self.no_show, self.no_show + self.completed);
    }

    fn count(&self) -> i64 {
        self.total
    }
}

/// The prices of completed bookings, at the time for which they were booked.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct RevenueFigures {
    /// Completed bookings, with a price or without.
    pub bookings: i64,
    /// By currency.
    pub revenue: Vec<Money>,
    #[serde(skip)]
    amounts: Amounts,
}

impl Figures for RevenueFigures {
    fn add(&mut self, _: &str, values: &[&str], n: i64, amount: Micros) {
        if let ["completed", currency] = values {
            self.bookings += n;
            self.amounts.add(currency, amount);
        }
    }

    fn settle(&mut self) {
        self.revenue = self.amounts.money();
    }

    fn count(&self) -> i64 {
        self.bookings
    }
}

/// Messages by their direction.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct MessageFigures {
    pub inbound: i64,
    pub outbound: i64,
    pub total: i64,
    /// Outbound ones that were not delivered.
    pub failed: i64,
}

impl Figures for MessageFigures {
    fn add(&mut self, metric: &str, values: &[&str], n: i64, _: Micros) {
        let (direction, status) = match (metric, values) {
            // Members write outbound ones only.
            ("messages.member", [status]) => ("outbound", *status),
            ("messages", [direction, _, status]) => (*direction, *status),
            _ => return,
        };
        self.total += n;
        *(if direction == "inbound" { &mut self.inbound } else { &mut self.outbound }) += n;
        if status == "failed" {
            self.failed += n;
        }
    }

    fn count(&self) -> i64 {
        self.total
    }
}

/// What messages cost.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct CostFigures {
    /// By currency.
    pub cost: Vec<Cost>,
    #[serde(skip)]
    amounts: Amounts,
}

impl Figures for CostFigures {
    fn add(&mut self, metric: &str, values: &[&str], _: i64, amount: Micros) {
        if metric == "messages.cost" {
            values.iter().for_each(|currency| self.amounts.add(currency, amount));
        }
    }

    fn settle(&mut self) {
        self.cost = self.amounts.costs();
    }

    fn count(&self) -> i64 {
        0
    }
}

/// Conversations by their status now, at the time at which they were started.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct ConversationFigures {
    pub started: i64,
    pub active: i64,
    pub pending: i64,
    pub closed: i64,
}

impl Figures for ConversationFigures {
    fn add(&mut self, _: &str, values: &[&str], n: i64, _: Micros) {
        self.started += n;
        match values.last().copied().unwrap_or_default() {
            "active" => self.active += n,
            "pending" => self.pending += n,
            "closed" => self.closed += n,
            _ => {}
        }
    }

    fn count(&self) -> i64 {
        self.started
    }
}

/// Leads that entered, by their status now; and leads that were closed.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct LeadFigures {
    /// Leads that entered.
    pub entered: i64,
    pub new: i64,
    pub contacted: i64,
    pub qualified: i64,
    pub proposal: i64,
    pub won: i64,
    pub lost: i64,
    /// Leads that were won, whenever they entered.
    pub closed_won: i64,
    /// Leads that were lost, whenever they entered.
    pub closed_lost: i64,
    /// `closed_won` of both; null where nothing was closed.
    #[schema(required = true)]
    pub win_rate: Option<f64>,
    /// The value of the leads that were won, by currency.
    pub won_value: Vec<Money>,
    #[serde(skip)]
    amounts: Amounts,
}

impl Figures for LeadFigures {
    fn add(&mut self, metric: &str, values: &[&str], n: i64, amount: Micros) {
        let status = values.first().copied().unwrap_or_default();
        if metric.starts_with("closed") {
            if let ["won", currency] = values {
                self.closed_won += n;
                self.amounts.add(currency, amount);
            } else {
                self.closed_lost += n;
            }
            return;
        }
        self.entered += n;
        match status {
            "new" => self.new += n,
            "contacted" => self.contacted += n,
            "qualified" => self.qualified += n,
            "proposal" => self.proposal += n,
            "won" => self.won += n,
            "lost" => self.lost += n,
            _ => {}
        }
    }

    fn settle(&mut self) {
        self.win_rate = share(self.closed_won, self.closed_won + self.closed_lost);
        self.won_value = self.amounts.money();
    }

    fn count(&self) -> i64 {
        self.entered + self.closed_won + self.closed_lost
    }

    fn rank(&self) -> (i64, i64) {
        (self.entered, self.closed_won + self.closed_lost)
    }
}

/// What models have written.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AiFigures {
    pub messages: i64,
    pub input_tokens: i64,
    pub output_tokens: i64,
    /// A decimal, in the currency in which the writers of the messages gave it.
    pub cost: String,
    #[serde(skip)]
    micros: Micros,
}

impl Default for AiFigures {
    fn default() -> Self {
        Self { messages: 0, input_tokens: 0, output_tokens: 0, cost: decimal(0), micros: 0 }
    }
}

impl Figures for AiFigures {
    fn add(&mut self, metric: &str, _: &[&str], n: i64, amount: Micros) {
        let whole = i64::try_from(amount / ONE).unwrap_or(i64::MAX);
        match metric {
            "ai.input" => {
                self.messages += n;
                self.input_tokens += whole;
            }
            "ai.output" => self.output_tokens += whole,
            "ai.cost" => self.micros += amount,
            _ => {}
        }
    }

    fn settle(&mut self) {
        self.cost = decimal(self.micros);
    }

    fn count(&self) -> i64 {
        self.messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_are_never_added_over_currencies() {
        let mut figures = RevenueFigures::default();
        figures.add("bookings", &["completed", "EUR"], 2, 300 * ONE);
        figures.add("bookings", &["completed", "USD"], 1, 50 * ONE);
        figures.add("bookings", &["completed", ""], 1, 7 * ONE);
        figures.add("bookings", &["cancelled", "EUR"], 1, 900 * ONE);
        figures.settle();
        let shown = serde_json::to_value(&figures).expect("JSON");
        let money = |currency: Option<&str>, amount: i64| serde_json::json!({ "currency": currency, "amount": amount });
        let revenue = [money(None, 7), money(Some("EUR"), 300), money(Some("USD"), 50)];
        assert_eq!(shown, serde_json::json!({ "bookings": 4, "revenue": revenue }));
    }

    proptest! {
        /// What is added and taken away again leaves nothing, in any order.
        #[test]
        fn figures_are_additive(changes in prop::collection::vec((0usize..6, 1i64..5), 0..40), seed in any::<u64>()) {
            let statuses = ["held", "pending", "confirmed", "completed", "cancelled", "no_show"];
            let mut all: Vec<(usize, i64)> = changes.iter().flat_map(|(s, n)| [(*s, *n), (*s, -*n)]).collect();
            let len = all.len().max(1);
            for place in 0..all.len() {
                all.swap(place, (seed as usize).wrapping_mul(place + 7) % len);
            }
            let mut figures = BookingFigures::default();
            all.iter().for_each(|(status, n)| figures.add("bookings", &[statuses[*status], "EUR"], *n, 0));
            figures.settle();
            prop_assert_eq!(serde_json::to_value(&figures).ok(), serde_json::to_value(BookingFigures::default()).ok());
        }
    }
}
