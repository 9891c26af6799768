//! Booking codes: short enough to be said on the phone.

use rand::Rng;

/// Without 0, O, 1 and I, which are mistaken for each other.
const ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
const LENGTH: usize = 8;

/// Generates a code: eight characters, 40 random bits.
pub fn generate() -> String {
    let mut random = rand::rng();
    (0..LENGTH).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}
