//! Encryption of secrets in the metadata database: Connections, Variables, arguments of triggers.
//!
//! Source: `airflow/models/crypto.py`.

use std::fmt;

use fernet::{Fernet as Key, MultiFernet};

/// Why a text could not be encrypted or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FernetError {
    /// A key is malformed.
    #[error(
        "key {position} of [core] fernet_key is not a Fernet key: it must be 32 bytes in URL-safe base64; \
         make one with `python -c \"from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())\"`"
    )]
    Key {
        /// Place of the key in the comma-separated list, from 1.
        position: usize,
    },
    /// No key reads the text.
    #[error("no key of [core] fernet_key decrypts the stored value; add the key that encrypted it to the list")]
    Token,
    /// The text needs a key and there is none.
    #[error("the stored value is encrypted, but [core] fernet_key is empty; set the key that encrypted it")]
    NoKey,
}

/// Encrypts with the first of the configured keys and decrypts with any of them, so that keys can be rotated.
/// Without a key it leaves everything as it is.
pub struct Fernet {
    keys: Option<MultiFernet>,
}

impl Fernet {
    /// Reads `[core] fernet_key`: comma-separated keys, the newest first; empty for none.
    pub fn new(fernet_key: &str) -> Result<Self, FernetError> {
        if fernet_key.is_empty() {
            return Ok(Self { keys: None });
        }
        let keys = fernet_key
            .split(',')
            .enumerate()
            .map(|(index, key)| Key::new(key).ok_or(FernetError::Key { position: index + 1 }))
            .collect::<Result<_, _>>()?;
        Ok(Self { keys: Some(MultiFernet::new(keys)) })
    }

    /// Whether values are really encrypted: goes to the `is_encrypted` columns.
    pub fn is_encrypted(&self) -> bool {
        self.keys.is_some()
    }

    /// Encrypts a text, or returns it unchanged without a key.
    pub fn encrypt(&self, text: &str) -> String {
        match &self.keys {
            Some(keys) => keys.encrypt(text.as_bytes()),
            None => text.to_owned(),
        }
    }

    /// Decrypts a stored value whose row says that it is encrypted.
    pub fn decrypt(&self, stored: &str) -> Result<String, FernetError> {
        let keys = self.keys.as_ref().ok_or(FernetError::NoKey)?;
        let bytes = keys.decrypt(stored).map_err(|_| FernetError::Token)?;
        String::from_utf8(bytes).map_err(|_| FernetError::Token)
    }
}

impl fmt::Debug for Fernet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fernet").field("is_encrypted", &self.is_encrypted()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made by Python: Fernet(OLD).encrypt(b"s3cr\xc3\xa9t").
    const OLD: &str = "lh8Bv1tPZD_AKhzHBRDfOdjfDQhYPqG6C-vC8Atj9Xo=";
    const NEW: &str = "rG7bfgzoQ3V0oLHlF39mSS3GdDt8Q0m-pmIwNkmYYJs=";
    const TOKEN: &str =
        "gAAAAABrALHdoRMFCcim4pvkiAqfCV_EMR8Ckbu-loJxiRe7db93Cxfz9yuQs9iDILmpMxCOngFuZkJ7kzBV_LQ7ebg5DAot7g==";

    #[test]
    fn reads_what_python_wrote() {
        let fernet = Fernet::new(OLD).expect("key");
        assert_eq!(fernet.decrypt(TOKEN).as_deref(), Ok("s3crét"));
    }

    #[test]
    fn a_new_first_key_still_reads_what_the_old_key_wrote() {
        let rotated = Fernet::new(&format!("{NEW},{OLD}")).expect("keys");
        assert_eq!(rotated.decrypt(TOKEN).as_deref(), Ok("s3crét"));
        let written = rotated.encrypt("x");
        assert_eq!(Fernet::new(NEW).expect("key").decrypt(&written).as_deref(), Ok("x"));
        assert_eq!(Fernet::new(OLD).expect("key").decrypt(&written), Err(FernetError::Token));
    }

    #[test]
    fn without_a_key_text_stays_plain() {
        let fernet = Fernet::new("").expect("no key");
        assert!(!fernet.is_encrypted());
        assert_eq!(fernet.encrypt("x"), "x");
        assert_eq!(fernet.decrypt(TOKEN), Err(FernetError::NoKey));
    }

    #[test]
    fn a_malformed_key_is_named_by_its_place() {
        assert_eq!(Fernet::new(&format!("{OLD},nonsense")).err(), Some(FernetError::Key { position: 2 }));
    }
}
