//! Services (`services.rs`), staff (`staff.rs`), who performs what (`staff_services/`), when they work (`schedules/`), when a service can be
//! booked (`availability/`), and bookings (`bookings/`).

pub mod availability;
pub mod bookings;
pub mod schedules;
pub mod services;
pub mod staff;
pub mod staff_services;
