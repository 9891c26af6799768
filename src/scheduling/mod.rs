//! Services (`services.rs`), staff (`staff.rs`), when they can be booked (`availability/`) and their bookings (`bookings/`).

pub mod availability;
pub mod bookings;
pub mod services;
pub mod staff;
