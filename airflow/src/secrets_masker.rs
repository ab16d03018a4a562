//! Hides secrets in what is shown and logged.
//!
//! Source of the rules: `airflow/sdk/_shared/secrets_masker/secrets_masker.py`, settings as in
//! `airflow/settings.py::_configure_secrets_masker`. Stricter in one point: known secrets are hidden at any depth of
//! a value, not only in its first five levels.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use aho_corasick::{AhoCorasick, MatchKind};
use serde_json::{Map, Value};

use crate::config::{Config, ConfigError};

/// What stands in place of a secret.
pub const REPLACEMENT: &str = "***";

/// Parts of names whose values are secrets, besides `[core] sensitive_var_conn_names`.
const SENSITIVE_NAMES: &[&str] = &[
    "access_key",
    "access_token",
    "api_key",
    "apikey",
    "auth_header",
    "authorization",
    "bearer",
    "connection_string",
    "dsn",
    "keyfile_dict",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "proxies",
    "proxy",
    "proxy_password",
    "secret",
    "service_account",
    "service_key",
    "token",
    "webhook_url",
];

/// Words that are too common to be hidden.
const NEVER_HIDDEN: &[&str] = &["airflow"];

#[derive(Debug)]
struct Settings {
    by_name: bool,
    names: Vec<String>,
    min_length: usize,
}

#[derive(Debug, Default)]
struct Secrets {
    texts: BTreeSet<String>,
    matcher: Option<AhoCorasick>,
}

/// A set of secrets and the rules for names; clones share the set.
#[derive(Debug, Clone)]
pub struct SecretsMasker {
    settings: Arc<Settings>,
    secrets: Arc<RwLock<Secrets>>,
}

impl SecretsMasker {
    /// A masker without secrets, its rules from the configuration.
    ///
    /// # Errors
    /// An option has a wrong value.
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        let own = config.string("core", "sensitive_var_conn_names")?;
        let own = own.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        let names = SENSITIVE_NAMES.iter().map(|name| (*name).to_owned()).chain(own).collect();
        let min_length = config.int("logging", "min_length_masked_secret")?;
        Ok(Self::new(Settings {
            by_name: config.bool("core", "hide_sensitive_var_conn_fields")?,
            names,
            min_length: usize::try_from(min_length).unwrap_or(0),
        }))
    }

    fn new(settings: Settings) -> Self {
        Self { settings: Arc::new(settings), secrets: Arc::default() }
    }

    /// A masker with the same rules and no secrets: for a process or attempt of its own.
    pub fn fresh(&self) -> Self {
        Self { settings: Arc::clone(&self.settings), secrets: Arc::default() }
    }

    /// Whether a value under this name is a secret as such.
    pub fn hides_name(&self, name: &str) -> bool {
        if !self.settings.by_name {
            return false;
        }
        let name = normalized(name);
        self.settings.names.iter().any(|sensitive| name.contains(sensitive))
    }

    /// Adds a secret; with a `name`, only when the name is a sensitive one. Objects and lists are walked.
    pub fn add(&self, secret: &Value, name: Option<&str>) {
        let mut found = Vec::new();
        self.collect(secret, name, &mut found);
        if found.is_empty() {
            return;
        }
        let mut secrets = self.secrets.write().unwrap_or_else(PoisonError::into_inner);
        let known = secrets.texts.len();
        secrets.texts.extend(found);
        if secrets.texts.len() > known {
            // Longest first, so that a secret which contains another one is hidden whole.
            secrets.matcher = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&secrets.texts).ok();
        }
    }

    fn collect(&self, secret: &Value, name: Option<&str>, found: &mut Vec<String>) {
        match secret {
            Value::Object(entries) => entries.iter().for_each(|(key, value)| self.collect(value, Some(key), found)),
            Value::Array(items) => items.iter().for_each(|item| self.collect(item, name, found)),
            Value::String(text) if self.is_worth_hiding(text) && name.is_none_or(|name| self.hides_name(name)) => {
                found.push(text.clone());
            }
            _ => {}
        }
    }

    fn is_worth_hiding(&self, text: &str) -> bool {
        !text.is_empty()
            && text.chars().count() >= self.settings.min_length
            && !NEVER_HIDDEN.contains(&text.to_lowercase().as_str())
    }

    /// The text with every known secret replaced.
    pub fn redact_text(&self, text: &str) -> String {
        let secrets = self.secrets.read().unwrap_or_else(PoisonError::into_inner);
        match &secrets.matcher {
            Some(matcher) => {
                let mut redacted = String::with_capacity(text.len());
                matcher.replace_all_with(text, &mut redacted, |_, _, out| {
                    out.push_str(REPLACEMENT);
                    true
                });
                redacted
            }
            None => text.to_owned(),
        }
    }

    /// The value with every known secret, and every value under a sensitive name, replaced.
    pub fn redact(&self, value: Value) -> Value {
        match value {
            Value::Object(entries) => Value::Object(self.redact_object(entries)),
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.redact(item)).collect()),
            Value::String(text) => Value::String(self.redact_text(&text)),
            other => other,
        }
    }

    /// The object with every known secret, and every value under a sensitive name, replaced.
    pub fn redact_object(&self, entries: Map<String, Value>) -> Map<String, Value> {
        entries
            .into_iter()
            .map(|(key, value)| {
                let value = if self.hides_name(&key) { hide_texts(value) } else { self.redact(value) };
                (key, value)
            })
            .collect()
    }
}

/// Replaces every text in the value; numbers, flags and nulls stay, as in Airflow.
fn hide_texts(value: Value) -> Value {
    match value {
        Value::Object(entries) => {
            Value::Object(entries.into_iter().map(|(key, value)| (key, hide_texts(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(hide_texts).collect()),
        Value::String(_) => Value::String(REPLACEMENT.to_owned()),
        other => other,
    }
}

/// Lower case, every run of characters that are neither letters nor digits as one underscore.
fn normalized(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut gap = false;
    for character in name.trim().to_lowercase().chars() {
        let is_word = character.is_alphanumeric() || character == '_';
        if is_word {
            text.push(character);
        } else if !gap {
            text.push('_');
        }
        gap = !is_word;
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn masker() -> SecretsMasker {
        let names = SENSITIVE_NAMES.iter().map(|name| (*name).to_owned()).collect();
        SecretsMasker::new(Settings { by_name: true, names, min_length: 5 })
    }

    #[test]
    fn names_are_compared_loosely() {
        for name in ["password", "My-API  key", " SMTP_PASSWORD ", "x.access.token", "proxies"] {
            assert!(masker().hides_name(name), "{name}");
        }
        for name in ["pass word", "event", "pass"] {
            assert!(!masker().hides_name(name), "{name}");
        }
    }

    #[test]
    fn known_secrets_disappear_everywhere() {
        let masker = masker();
        masker.add(
            &json!({"password": "hunter22", "host": "example.org", "extra": {"api_key": ["abcdef", "abcdefgh"]}}),
            None,
        );
        masker.add(&json!("plain-secret"), None);
        assert_eq!(masker.redact_text("hunter22@example.org abcdefgh plain-secret"), "***@example.org *** ***");
        assert_eq!(
            masker.redact(
                json!({"a": [{"b": {"c": {"d": {"e": {"f": {"g": "is abcdef"}}}}}}], "token": {"x": "y", "n": 3}})
            ),
            json!({"a": [{"b": {"c": {"d": {"e": {"f": {"g": "is ***"}}}}}}], "token": {"x": "***", "n": 3}})
        );
        assert_eq!(masker.fresh().redact_text("hunter22"), "hunter22");
    }

    #[test]
    fn short_common_and_innocently_named_texts_stay() {
        let masker = masker();
        masker.add(&json!(["abcd", "Airflow", ""]), None);
        masker.add(&json!("localhost"), Some("host"));
        assert_eq!(masker.redact_text("abcd Airflow localhost"), "abcd Airflow localhost");
    }
}
