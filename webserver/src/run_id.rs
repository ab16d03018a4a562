//! Which ids a run may be given. Ids become folder names and URLs, and must not look like those of other kinds of runs.

use std::sync::LazyLock;

use regex::Regex;
use tradewind_airflow::config::{Config, ConfigError};
use tradewind_model::state::DagRunType;

use crate::python;

/// Ids that Airflow makes itself (`airflow/models/dagrun.py`, `RUN_ID_REGEX`).
const OWN: &str = r"^(?:manual|scheduled|asset_triggered)__(?:\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\+00:00)$";
static OWN_PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(OWN).ok());

/// The rule for ids of runs by hand.
#[derive(Debug)]
pub(crate) struct RunIdRule {
    dots_allowed: bool,
    /// The pattern as configured.
    allowed: String,
    /// None when nothing but Airflow's own ids is allowed.
    pattern: Option<Regex>,
}

impl RunIdRule {
    /// The rule as configured: `[scheduler] allowed_run_id_pattern` and `[core] allow_double_dot_in_ids`.
    ///
    /// # Errors
    /// An option has a wrong value.
    pub(crate) fn from_config(config: &Config) -> Result<Self, ConfigError> {
        let allowed = config.string("scheduler", "allowed_run_id_pattern")?.trim().to_owned();
        let pattern = if allowed.is_empty() { None } else { Regex::new(&format!("^(?:{allowed})")).ok() };
        Ok(Self { dots_allowed: config.bool("core", "allow_double_dot_in_ids")?, allowed, pattern })
    }

    /// Checks an id.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check(&self, run_type: DagRunType, run_id: &str) -> Result<(), String> {
        if run_id.contains("..") && !self.dots_allowed {
            return Err(format!("The run_id '{run_id}' must not contain '..' to prevent path traversal"));
        }
        let matches = |pattern: Option<&Regex>| pattern.is_some_and(|pattern| pattern.is_match(run_id));
        if !matches(OWN_PATTERN.as_ref()) && !matches(self.pattern.as_ref()) {
            let allowed = &self.allowed;
            return Err(format!("The run_id provided '{run_id}' does not match regex pattern '{allowed}' or '{OWN}'"));
        }
        let reserved = DagRunType::ALL.iter().find(|kind| run_id.starts_with(&format!("{kind}__")));
        match reserved {
            Some(kind) if run_type == DagRunType::Manual && *kind != run_type => Err(format!(
                "A manual DAG run cannot use ID {} since it is reserved for {kind} runs",
                python::repr(run_id)
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tradewind_airflow::config::Environment;

    fn rule(variable: &str, value: &str) -> RunIdRule {
        let environment = Environment::default().with(variable, value);
        RunIdRule::from_config(&Config::from_environment(&environment).expect("a configuration")).expect("a rule")
    }

    #[test]
    fn ids_follow_the_pattern_or_are_airflows_own() {
        let rule = rule("AIRFLOW__SCHEDULER__ALLOWED_RUN_ID_PATTERN", " ^nightly-[0-9]+$ ");
        let check = |id| rule.check(DagRunType::Manual, id);
        assert_eq!(check("nightly-7"), Ok(()));
        assert_eq!(check("manual__2026-01-01T00:00:00+00:00"), Ok(()), "one of Airflow's own");
        assert!(check("weekly-7").is_err_and(|error| error.contains("'^nightly-[0-9]+$'")));
        let reserved = check("scheduled__2026-01-01T00:00:00+00:00");
        assert!(reserved.is_err_and(|error| error.contains("reserved for scheduled runs")));
    }

    #[test]
    fn ids_do_not_lead_elsewhere_unless_that_is_allowed() {
        let of = |allowed| rule("AIRFLOW__CORE__ALLOW_DOUBLE_DOT_IN_IDS", allowed).check(DagRunType::Manual, "a..b");
        assert!(of("False").is_err_and(|error| error.contains("path traversal")));
        assert_eq!(of("True"), Ok(()));
    }

    #[test]
    fn nothing_but_airflows_own_ids_without_a_pattern() {
        for pattern in [" ", "("] {
            let rule = rule("AIRFLOW__SCHEDULER__ALLOWED_RUN_ID_PATTERN", pattern);
            assert!(rule.check(DagRunType::Manual, "mine").is_err());
            assert_eq!(rule.check(DagRunType::Manual, "manual__2026-01-01T00:00:00+00:00"), Ok(()));
        }
    }
}
