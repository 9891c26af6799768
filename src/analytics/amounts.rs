//! Exact amounts: costs as decimals, money by currency, never added over currencies.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::roll_up::{Micros, ONE};

/// Returns an exact decimal: `0.0123`.
pub fn decimal(micros: Micros) -> String {
    let (sign, micros) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
    let (whole, rest) = (micros / ONE.unsigned_abs(), micros % ONE.unsigned_abs());
    if rest == 0 {
        return format!("{sign}{whole}");
    }
    format!("{sign}{whole}.{rest:06}").trim_end_matches('0').to_owned()
}

/// An amount of money.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(examples(json!({ "currency": "EUR", "amount": 129_900 })))]
pub struct Money {
    /// ISO 4217; null where the rows name none.
    #[schema(required = true)]
    pub currency: Option<String>,
    /// In minor units.
    pub amount: i64,
}

/// A cost.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(examples(json!({ "currency": "EUR", "amount": "12.0345" })))]
pub struct Cost {
    /// ISO 4217; null where the rows name none.
    #[schema(required = true)]
    pub currency: Option<String>,
    /// A decimal.
    pub amount: String,
}

/// Amounts by currency: they are never added over currencies.
#[derive(Clone, Debug, Default)]
pub struct Amounts(BTreeMap<String, Micros>);

impl Amounts {
    /// Adds an amount in `currency`; the empty text: none is named.
    pub fn add(&mut self, currency: &str, amount: Micros) {
        if amount != 0 {
            *self.0.entry(currency.to_owned()).or_default() += amount;
        }
    }

    fn entries(&self) -> impl Iterator<Item = (Option<String>, Micros)> {
        let entries = self.0.iter().filter(|(_, amount)| **amount != 0);
        entries.map(|(currency, amount)| (Some(currency.clone()).filter(|code| !code.is_empty()), *amount))
    }

    pub fn money(&self) -> Vec<Money> {
        let minor = |amount: Micros| i64::try_from(amount / ONE).unwrap_or(i64::MAX);
        self.entries().map(|(currency, amount)| Money { currency, amount: minor(amount) }).collect()
    }

    pub fn costs(&self) -> Vec<Cost> {
        self.entries().map(|(currency, amount)| Cost { currency, amount: decimal(amount) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        for (micros, text) in [(0, "0"), (1, "0.000001"), (12_034_500, "12.0345"), (-500_000, "-0.5"), (3_000_000, "3")]
        {
            assert_eq!(decimal(micros), text);
        }
    }
}
