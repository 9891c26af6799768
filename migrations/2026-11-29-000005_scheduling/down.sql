DROP TABLE bookings, staff, services;
