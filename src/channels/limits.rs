//! Limits of what channels carry, and people write.

/// Longest text of a message in characters: WhatsApp's are shorter, those of mail are cut.
pub const MAX_BODY_LEN: usize = 16_384;
/// Longest text that a channel sends, in characters (Meta, Cloud API, "Text messages").
pub const MAX_TEXT_LEN: usize = 4_096;
/// Longest text of another kind, in characters (the same, "Media messages" and "Interactive messages").
pub const MAX_CAPTION_LEN: usize = 1_024;
/// Longest address of a file, in characters.
pub const MAX_URL_LEN: usize = 2_048;
