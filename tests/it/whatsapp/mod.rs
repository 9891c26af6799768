//! What WhatsApp delivers, through its webhook: real bodies, in any order, twice, at once, and what must come of each.

mod cases;
mod identity;
mod peers;
mod webhook;
