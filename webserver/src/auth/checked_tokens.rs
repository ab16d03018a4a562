//! Tokens whose signature was found right a moment ago: a page sends many requests with one token.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::Utc;
use lru::LruCache;
use serde_json::{Map, Value};

use super::manager::Identity;

/// How many are remembered.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// What a valid token says.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    /// Whom it describes.
    pub(super) identity: Identity,
    /// Its id, by which it may be revoked.
    pub(super) jti: Option<Arc<str>>,
    /// Which keys it was checked with ([`tradewind_airflow::jwt::Jwt::generation`]).
    generation: u64,
    /// `exp`, in seconds since 1970. Who checks the token says what follows after that.
    expires: f64,
}

impl Checked {
    /// What the claims of a token say, which is valid now by the keys of that generation.
    pub(super) fn new(identity: Identity, claims: &Map<String, Value>, generation: u64) -> Self {
        Self {
            identity,
            generation,
            jti: claims.get("jti").and_then(Value::as_str).map(Arc::from),
            expires: claims.get("exp").and_then(Value::as_f64).unwrap_or(f64::NEG_INFINITY),
        }
    }

    fn holds(&self, now: i64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "exact for some hundred million years")]
        let now = now as f64;
        now < self.expires
    }
}

/// The tokens that were used last.
#[derive(Debug)]
pub(crate) struct CheckedTokens(Mutex<LruCache<Box<str>, Checked>>);

impl Default for CheckedTokens {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(CAPACITY)))
    }
}

impl CheckedTokens {
    /// What a token says, if it is remembered, has not expired, and the keys are still those it was checked with.
    pub(super) fn get(&self, token: &str, generation: u64) -> Option<Checked> {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |checked: &&Checked| checked.generation == generation && checked.holds(Utc::now().timestamp());
        tokens.get(token).filter(holds).cloned()
    }

    /// Remembers one that was found valid.
    pub(super) fn put(&self, token: &str, checked: Checked) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(token.into(), checked);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_is_remembered_until_it_expires() {
        let tokens = CheckedTokens::default();
        let identity = Identity { name: "admin".to_owned(), role: None, teams: BTreeSet::new() };
        let put = |token: &str, claims: Value| {
            let claims = claims.as_object().expect("claims");
            tokens.put(token, Checked::new(identity.clone(), claims, 7));
        };
        let now = Utc::now().timestamp();
        put("lives", json!({"exp": now + 60, "jti": "one"}));
        put("expired", json!({"exp": now}));
        put("without", json!({}));
        assert_eq!(tokens.get("lives", 7).expect("remembered").jti.as_deref(), Some("one"));
        for token in ["expired", "without", "unknown"] {
            assert!(tokens.get(token, 7).is_none(), "{token}");
        }
        assert!(tokens.get("lives", 8).is_none(), "the keys have changed");
    }
}
