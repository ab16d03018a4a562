//! `tradewind config`.

use anyhow::Result;
use tradewind_airflow::config::Config;

use crate::console::say;

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
