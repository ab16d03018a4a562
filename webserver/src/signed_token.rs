//! Signed tokens that clients hand back, as `itsdangerous.URLSafeSerializer` makes them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::read::ZlibDecoder;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha1::{Digest as _, Sha1};
use std::io::Read as _;

/// No token of ours is larger when unpacked.
const MAX_LENGTH: u64 = 1 << 20;

/// A token of the value: payload and signature, separated by a point. Airflow packs long payloads and reads both.
pub(crate) fn sign(secret: &str, value: &Value) -> String {
    let payload = URL_SAFE_NO_PAD.encode(value.to_string());
    let signature = URL_SAFE_NO_PAD.encode(mac(secret, &payload).finalize().into_bytes());
    format!("{payload}.{signature}")
}

/// The value of a token that was signed with this secret.
pub(crate) fn verify(secret: &str, token: &str) -> Option<Value> {
    let (payload, signature) = token.rsplit_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    mac(secret, payload).verify_slice(&signature).ok()?;
    let json = match payload.strip_prefix('.') {
        Some(packed) => {
            let packed = URL_SAFE_NO_PAD.decode(packed).ok()?;
            let mut json = Vec::new();
            ZlibDecoder::new(packed.as_slice()).take(MAX_LENGTH).read_to_end(&mut json).ok()?;
            json
        }
        None => URL_SAFE_NO_PAD.decode(payload).ok()?,
    };
    serde_json::from_slice(&json).ok()
}

/// HMAC-SHA1 under the key that itsdangerous derives by default: SHA-1 of salt, "signer" and secret.
fn mac(secret: &str, payload: &str) -> Hmac<Sha1> {
    let mut key = Sha1::new();
    key.update(b"itsdangerous");
    key.update(b"signer");
    key.update(secret.as_bytes());
    let mut mac = Hmac::<Sha1>::new_from_slice(&key.finalize()).expect("HMAC takes keys of any length");
    mac.update(payload.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Made by the official API server with `[api] secret_key = c2VjcmV0a2V5`.
    const OFFICIAL: &str = "eyJidW5kbGVfbmFtZSI6ImRhZ3MtZm9sZGVyIiwicmVsYXRpdmVfZmlsZWxvYyI6ImV4YW1wbGVfdGFza19ncm91cC5weSJ9.\
                            Sqw0NZ_9L8BEffM3KXRzQrDRk2Q";

    #[test]
    fn reads_and_writes_official_tokens() {
        let value = json!({"bundle_name": "dags-folder", "relative_fileloc": "example_task_group.py"});
        assert_eq!(sign("c2VjcmV0a2V5", &value), OFFICIAL);
        assert_eq!(verify("c2VjcmV0a2V5", OFFICIAL), Some(value));
        assert_eq!(verify("another", OFFICIAL), None);
    }

    #[test]
    fn reads_packed_tokens() {
        let packed = ".eJwNysENgCAMAMBd-lYHcJmm0qIkhZICRmPcXe99D2yjsAoWygIrMO1tjqYsDhO4KPV0Csakohb-IBfl-v92mHcMycNIHVmCOXXzpd7wfj_IIAo.\
                      jc6BVRimT1ty83HkjYR3Rjgtjqw";
        let value = verify("c2VjcmV0a2V5", packed).expect("an official token");
        assert_eq!(value["relative_fileloc"], "example_short_circuit_decorator.py");
    }
}
