//! `tradewind config`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE;
use tradewind_airflow::config::Config;

use crate::console::say;
use crate::failure::{Failure, Kind};

/// Shows every option on a line of its own: section, key, value, origin. Secrets are masked, line breaks escaped.
pub(crate) fn list(config: &Config) {
    for value in config.list() {
        let shown = value.shown().replace('\n', "\\n");
        say(format_args!("[{}] {} = {shown} ({})", value.option.section, value.option.key, value.origin));
    }
}

/// Shows one value as it is, for scripts.
pub(crate) fn get_value(config: &Config, section: &str, key: &str) -> Result<()> {
    let value = config.value(section, key)?;
    say(format_args!("{}", value.text.as_deref().unwrap_or_default()));
    Ok(())
}

/// Makes the home folder and an `airflow.cfg` in it, unless they are there.
pub(crate) fn init(config: &Config) -> Result<()> {
    fs::create_dir_all(config.home()).map_err(|error| {
        let message = format!("the home folder {} cannot be made: {error}", config.home().display());
        Failure::new(Kind::Missing, message, "choose another one with AIRFLOW_HOME, or mend its permissions")
    })?;
    let state = if write_new(config)? { "written, with new keys" } else { "there already" };
    say(format_args!("configuration: {} is {state}", config.file().display()));
    Ok(())
}

/// Writes the smallest useful `airflow.cfg` if there is none: the keys that all processes, official ones too, must share.
/// Returns whether it did.
pub(crate) fn write_new(config: &Config) -> Result<bool> {
    let path = config.file();
    if path.exists() {
        return Ok(false);
    }
    let text = format!(
        "# Options: {}\n\n[core]\nfernet_key = {}\n\n[api]\nsecret_key = {}\n\n[api_auth]\njwt_secret = {}\n",
        "https://airflow.apache.org/docs/apache-airflow/stable/configurations-ref.html",
        random_key(),
        random_key(),
        random_key(),
    );
    write_secret(path, &text)?;
    Ok(true)
}

/// A Fernet key, which does for the other secrets as well: 32 random bytes.
fn random_key() -> String {
    BASE64_URL_SAFE.encode(rand::random::<[u8; 32]>())
}

/// Writes a file that only its owner may read; whole or not at all.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<()> {
    let draft = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        if draft.exists() {
            fs::remove_file(&draft)?;
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?.write_all(text.as_bytes())?;
        fs::rename(&draft, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
