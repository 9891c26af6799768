//! What messages cost. `pricing` reads what WhatsApp says of a price, `markets` knows whose rate a country has, `charge` finds the
//! rate of a message, and `late_rates` prices messages whose rates were not there when they were charged.

pub mod charge;
pub mod late_rates;
pub mod markets;
pub mod pricing;
