//! What a file of each kind may be (Meta, Cloud API, "Media": supported media types and their sizes).

/// Kinds of messages that have a file.
pub const FILE_KINDS: [&str; 5] = ["image", "audio", "video", "document", "sticker"];

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
/// Largest file of any kind in bytes: a document.
pub const MAX_FILE_BYTES: u64 = 100 * MIB;

/// Longest media type in characters (RFC 6838, section 4.2, allows 127 for each half; real ones are shorter).
const MAX_TYPE_LEN: usize = 127;

/// Whether `text` is a media type in lower case, without parameters (RFC 6838, section 4.2).
pub fn is_media_type(text: &str) -> bool {
    let is_name = |name: &str| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$&-^_.+".contains(&byte);
        name.bytes().all(allowed) && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
    };
    text.len() <= MAX_TYPE_LEN && text.split_once('/').is_some_and(|(family, name)| is_name(family) && is_name(name))
}

/// Returns the largest size of a file of `kind`, in bytes.
pub fn max_bytes(kind: &str) -> u64 {
    match kind {
        "image" => 5 * MIB,
        "audio" | "video" => 16 * MIB,
        "sticker" => 500 * KIB,
        _ => MAX_FILE_BYTES,
    }
}

const IMAGES: [&str; 2] = ["image/jpeg", "image/png"];
const SOUNDS: [&str; 5] = ["audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg"];
const FILMS: [&str; 2] = ["video/mp4", "video/3gpp"];
const STICKERS: [&str; 1] = ["image/webp"];
const TEXTS: [&str; 8] = [
    "application/pdf",
    "text/plain",
    "application/msword",
    "application/vnd.ms-excel",
    "application/vnd.ms-powerpoint",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
];

/// Returns the media types that the channel takes of `kind`; a document may be any that it knows.
pub fn sendable_types(kind: &str) -> Vec<&'static str> {
    match kind {
        "image" => IMAGES.to_vec(),
        "audio" => SOUNDS.to_vec(),
        "video" => FILMS.to_vec(),
        "sticker" => STICKERS.to_vec(),
        _ => [&TEXTS[..], &IMAGES, &STICKERS, &SOUNDS, &FILMS].concat(),
    }
}

/// Whether a file of `mime_type` that a customer sent can be a `kind`: nobody gets a program where an image was announced.
pub fn is_plausible(kind: &str, mime_type: &str) -> bool {
    let family = mime_type.split('/').next().unwrap_or_default();
    match kind {
        "image" | "sticker" => family == "image",
        // Some phones record sound as a video without pictures.
        "audio" => matches!(family, "audio" | "video"),
        "video" => family == "video",
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_types_and_sizes() {
        assert_eq!(FILE_KINDS.map(|kind| max_bytes(kind) / KIB), [5_120, 16_384, 16_384, 102_400, 500]);
        assert!(is_plausible("image", "image/jpeg") && !is_plausible("image", "text/html"));
        assert!(is_plausible("audio", "audio/ogg") && !is_plausible("audio", "application/x-msdownload"));
        assert!(is_plausible("document", "application/x-msdownload"));
    }
}
