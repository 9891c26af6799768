DROP TABLE booking_day_checks;
