//! Limits of what channels carry, and people write.

/// Longest text of a message in characters: WhatsApp's are shorter, those of mail are cut.
pub const MAX_BODY_LEN: usize = 16_384;
