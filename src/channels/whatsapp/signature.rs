//! Verifies the signatures of WhatsApp's webhook requests: `X-Hub-Signature-256`, the HMAC-SHA256 of the body's bytes with
//! the app secret (Meta, Graph API webhooks, "Validating payloads").

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::base::options::Secret;

/// Ids that a body may name before its signature is verified. Meta's bodies have the number and the account of each entry.
const MAX_IDS: usize = 20;
/// Digits of such an id.
const MAX_ID_LEN: usize = 32;

/// Whether a header can be a signature: `sha256=` and 64 hexadecimal digits.
pub fn is_well_formed(signature: &str) -> bool {
    signature
        .strip_prefix("sha256=")
        .is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether `body` was signed with one of `secrets`. `signature` is the header's value, `sha256=` and 64 hexadecimal digits. The
/// comparison takes the same time whatever differs.
pub fn is_signed(body: &[u8], signature: &str, secrets: &[Secret]) -> bool {
    let Some(signature) = signature.strip_prefix("sha256=").and_then(|digits| hex::decode(digits).ok()) else {
        return false;
    };
    secrets.iter().any(|secret| {
        let mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes());
        mac.is_ok_and(|mac| mac.chain_update(body).verify_slice(&signature).is_ok())
    })
}

/// Returns the ids of numbers that `body` names, without reading it as JSON: nothing of a body is read before its signature is
/// verified, and its secret is found by these.
pub fn named_numbers(body: &[u8]) -> Vec<String> {
    ids_after(body, b"\"phone_number_id\"")
}

/// As [`named_numbers`], of accounts: what concerns an account names no number.
pub fn named_accounts(body: &[u8]) -> Vec<String> {
    ids_after(body, b"\"id\"")
}

/// Returns the different texts of digits that follow `name` and a colon.
fn ids_after(body: &[u8], name: &[u8]) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    let mut rest = body;
    while let Some(at) = rest.windows(name.len()).position(|window| window == name) {
        rest = &rest[at + name.len()..];
        let value = rest.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start);
        let Some(value) = value.and_then(|value| value.strip_prefix(b"\"")) else { continue };
        let digits = value.iter().take(MAX_ID_LEN).take_while(|byte| byte.is_ascii_digit()).count();
        let is_id = digits > 0 && value.get(digits) == Some(&b'"');
        if let (true, Ok(id)) = (is_id, std::str::from_utf8(&value[..digits]))
            && !ids.iter().any(|known| known == id)
        {
            ids.push(id.to_owned());
            if ids.len() == MAX_IDS {
                break;
            }
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_of_one_of_several_secrets_counts() {
        // Computed with `printf body | openssl dgst -sha256 -hmac new-secret`.
        let signature = "sha256=3bbd57cd9bd04bf63b9cbe8b2ba9b0b1cf2e7b5bb3a4ee29cd2d4d4e1a1cc1b4";
        let secrets = ["old-secret", "new-secret"].map(|secret| Secret::from(secret.to_owned()));
        let mac = Hmac::<Sha256>::new_from_slice(b"new-secret").expect("a key").chain_update(b"body");
        let right = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        assert!(is_signed(b"body", &right, &secrets));
        assert!(!is_signed(b"body!", &right, &secrets));
        assert!(!is_signed(b"body", &right, &secrets[..1]));
        for wrong in [signature, &right[7..], "sha256=", "sha256=zz", "", &right[..70]] {
            assert!(!is_signed(b"body", wrong, &secrets), "{wrong}");
        }
    }

    #[test]
    fn named_ids_are_texts_of_digits_each_once() {
        let body = br#"{"id":"22","x":{"phone_number_id" : "109", "phone_number_id":109,"phone_number_id":"1x"},"phone_number_id":"109","id":"#;
        assert_eq!(named_numbers(body), ["109"]);
        assert_eq!(named_accounts(body), ["22"]);
        let many: String = (0..100).map(|number| format!("\"id\":\"{number}\",")).collect();
        assert_eq!(named_accounts(many.as_bytes()).len(), MAX_IDS);
    }
}
