//! Services, staff and their bookings.

pub mod bookings;
pub mod reminders;
pub mod services;
pub mod staff;
