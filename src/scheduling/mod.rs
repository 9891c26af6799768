//! Services (`services.rs`), staff (`staff.rs`) and their bookings (`bookings/`).

pub mod bookings;
pub mod services;
pub mod staff;
