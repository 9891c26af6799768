//! Services (`services.rs`), staff (`staff.rs`), when they can be booked (`availability/`) and their bookings (`bookings/`).
//! Services (`services.rs`), staff (`staff.rs`), who performs what (`staff_services/`), and bookings (`bookings/`).
//! Services (`services.rs`), staff (`staff.rs`), who performs what (`staff_services/`), when they work
//! (`schedules/`), and bookings (`bookings/`).

pub mod availability;
pub mod bookings;
pub mod schedules;
pub mod services;
pub mod staff;
pub mod staff_services;
