//! `[metrics] metrics_allow_list` and `metrics_block_list`: which metrics are sent; `statsd_disabled_tags`: with which tags
//! (`airflow/sdk/_shared/observability/metrics/validators.py`).

use fancy_regex::Regex;
use tradewind_airflow::config::{Config, ConfigError};

/// Which metrics, or tags, are sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    patterns: Vec<Regex>,
    is_block_list: bool,
}

impl Selection {
    /// As configured: with an allow list, what one of its patterns finds; else what none of the block list finds.
    ///
    /// # Errors
    /// An item is not a regular expression.
    pub(crate) fn from_config(config: &Config) -> Result<Self, ConfigError> {
        let allowed = config.list_of("metrics", "metrics_allow_list")?;
        let blocked = config.list_of("metrics", "metrics_block_list")?;
        if !allowed.is_empty() && !blocked.is_empty() {
            tracing::warn!("[metrics] metrics_block_list is not looked at, since metrics_allow_list is set");
        }
        let is_block_list = allowed.is_empty();
        let (option, items) =
            if is_block_list { ("metrics_block_list", blocked) } else { ("metrics_allow_list", allowed) };
        Ok(Self { patterns: patterns(config, option, items)?, is_block_list })
    }

    /// What none of the patterns of an option finds.
    ///
    /// # Errors
    /// An item is not a regular expression.
    pub(crate) fn without(config: &Config, option: &str) -> Result<Self, ConfigError> {
        let blocked = config.list_of("metrics", option)?;
        Ok(Self { patterns: patterns(config, option, blocked)?, is_block_list: true })
    }

    /// Whether a metric, or a tag, is sent.
    pub(crate) fn has(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        // A pattern that gives up finds nothing.
        let is_found = self.patterns.iter().any(|pattern| pattern.is_match(&name).unwrap_or(false));
        if self.is_block_list { !is_found } else { is_found || self.patterns.is_empty() }
    }
}

fn patterns(config: &Config, option: &str, items: Vec<String>) -> Result<Vec<Regex>, ConfigError> {
    let pattern = |item: String| {
        Regex::new(&item.trim().to_lowercase())
            .map_err(|error| config.invalid("metrics", option, format!("a list of regular expressions ({error})")))
    };
    items.into_iter().map(pattern).collect()
}

#[cfg(test)]
mod tests {
    use tradewind_airflow::config::Environment;

    use super::*;

    fn selection(allowed: &str, blocked: &str) -> Result<Selection, ConfigError> {
        let environment = Environment::default()
            .with("AIRFLOW_HOME", "/nowhere")
            .with("AIRFLOW__METRICS__METRICS_ALLOW_LIST", allowed)
            .with("AIRFLOW__METRICS__METRICS_BLOCK_LIST", blocked);
        Selection::from_config(&Config::from_environment(&environment)?)
    }

    #[test]
    fn patterns_are_searched_anywhere_and_the_allow_list_wins() {
        for (allowed, blocked, sent, held_back) in [
            ("", "", &["ti.start", "pool.open_slots"][..], &[][..]),
            ("scheduler,^ti\\.", "ti", &["scheduler_heartbeat", "TI.start"][..], &["pool.ti.x"][..]),
            ("", "^pool", &["ti.start"][..], &["pool.open_slots"][..]),
        ] {
            let selection = selection(allowed, blocked).expect("valid patterns");
            assert!(sent.iter().all(|name| selection.has(name)), "{allowed} {blocked}");
            assert!(!held_back.iter().any(|name| selection.has(name)), "{allowed} {blocked}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let error = selection("ti,(", "").expect_err("an open bracket").to_string();
        assert!(error.contains("metrics_allow_list"), "{error}");
    }
}
