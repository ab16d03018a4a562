//! The configuration as official Airflow shows it to users: `AirflowConfigParser.as_dict`.
//!
//! Beside the options of our tables there are those that packages of providers describe, and those that nobody describes:
//! misspelt ones, and ones of older releases. Their values are read, shown, and used by nothing here.

use std::collections::HashSet;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::sources::Undescribed;
use super::{Config, Origin};

/// Former names under which Airflow still reads secrets (`deprecated_options`).
const FORMER_SECRETS: [(&str, &str); 2] = [("core", "sql_alchemy_conn"), ("webserver", "secret_key")];

/// Options that are spelled out one by one, by section and how their keys begin; each holds a secret.
const SPELLED_OUT_SECRETS: [(&str, &str); 2] = [("secrets", "backend_kwarg__"), ("workers", "secrets_backend_kwarg__")];

/// Behind the key of a secret: the value is a command or a path that gives it.
const FORMS: [&str; 2] = ["_cmd", "_secret"];

/// A section that packages of providers describe, as `pyhost/src/evaluator.py` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvidedSection {
    /// The section of `airflow.cfg`.
    pub name: String,
    /// Its options.
    pub options: Vec<ProvidedOption>,
}

/// An option that a package of a provider describes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvidedOption {
    /// The key within the section.
    pub key: String,
    /// The package's default.
    pub default: Option<String>,
    /// Whether the value is a secret.
    pub sensitive: bool,
}

/// A value, and whether it is a secret that must not be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposed {
    /// The value.
    pub text: String,
    /// Whether it is a secret.
    pub sensitive: bool,
}

/// By section and key, in Airflow's order: sections of providers, Airflow's own, ours, and what nobody describes. A section
/// whose options have no value is there, too.
pub type Sections = IndexMap<String, IndexMap<String, Exposed>>;

impl Config {
    /// The values of all options, with those of the providers given. While these are not known (`None`), nobody knows either
    /// which of their values are secret: then values that our own tables do not describe are left out.
    pub fn exposed(&self, provided: Option<&[ProvidedSection]>) -> Sections {
        let undescribed = provided.map_or(&[][..], |_| &self.undescribed);
        let provided = provided.unwrap_or_default();
        let secrets = Secrets::new(provided);
        let mut sections = Sections::new();
        for section in provided {
            let shown = sections.entry(section.name.clone()).or_default();
            for option in &section.options {
                if let Some(text) = option.default.clone() {
                    shown.insert(option.key.clone(), Exposed { text, sensitive: option.sensitive });
                }
            }
        }
        for value in self.list() {
            sections.entry(value.option.section.to_owned()).or_default();
        }
        // What has no default comes after what has one.
        let (defaulted, others): (Vec<_>, Vec<_>) = self.list().partition(|value| value.option.default.is_some());
        for value in defaulted.into_iter().chain(others) {
            if let (Some(shown), Some(text)) = (sections.get_mut(value.option.section), value.text.clone()) {
                shown.insert(value.option.key.to_owned(), Exposed { text, sensitive: value.option.sensitive });
            }
        }
        for value in undescribed {
            let section = section_of(value, provided);
            let (key, sensitive) = secrets.judge(section, &value.key);
            let shown = sections.entry(section.to_owned()).or_default();
            shown.insert(key.to_owned(), Exposed { text: value.text.clone(), sensitive });
        }
        sections
    }
}

/// Variables of the environment cannot spell the dot in the name of a section.
fn section_of<'a>(value: &'a Undescribed, provided: &'a [ProvidedSection]) -> &'a str {
    let spelled = |section: &&ProvidedSection| section.name.replace('.', "_") == value.section;
    let found = provided.iter().filter(|_| value.origin == Origin::Environment).find(spelled);
    found.map_or(&value.section, |section| &section.name)
}

/// Which options are secret.
struct Secrets(HashSet<(String, String)>);

impl Secrets {
    fn new(provided: &[ProvidedSection]) -> Self {
        let own = super::all_options().filter(|option| option.sensitive).map(|option| (option.section, option.key));
        let options = provided.iter().flat_map(|section| section.options.iter().map(|it| (section.name.as_str(), it)));
        let others = options.filter(|(_, option)| option.sensitive).map(|(section, option)| (section, &*option.key));
        let lower = |(section, key): (&str, &str)| (section.to_ascii_lowercase(), key.to_ascii_lowercase());
        Self(own.chain(others).chain(FORMER_SECRETS).map(lower).collect())
    }

    /// Under which key an undescribed value is shown, and whether it is a secret: of a command that gives a secret the secret
    /// is shown.
    fn judge<'a>(&self, section: &str, key: &'a str) -> (&'a str, bool) {
        let given = FORMS.iter().find_map(|form| key.strip_suffix(form));
        match given.filter(|key| self.contain(section, key)) {
            Some(key) => (key, true),
            None => (key, self.contain(section, key) || is_spelled_out(section, key) || self.are_of_team(section, key)),
        }
    }

    fn contain(&self, section: &str, key: &str) -> bool {
        self.0.contains(&(section.to_ascii_lowercase(), key.to_ascii_lowercase()))
    }

    /// Whether a team's value of a secret is meant (`is_sensitive_option`): in the file its section is `team=section`, in the
    /// environment the team comes before three underscores, and the name is taken apart at the first two of them.
    fn are_of_team(&self, section: &str, key: &str) -> bool {
        let forms = |key: &str| [key.to_owned(), format!("{key}_cmd"), format!("{key}_secret")];
        let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
        if let Some((_, base)) = section.split_once('=') {
            return self.0.iter().any(|(of, secret)| of == base && forms(secret).contains(&key));
        }
        let spelled = format!("{section}__{key}");
        let of_team = |name: String| spelled.strip_suffix(&name).is_some_and(|team| !team.is_empty());
        self.0.iter().any(|(of, secret)| {
            let of = of.replace('.', "_");
            forms(secret).into_iter().any(|secret| of_team(format!("___{of}__{secret}")))
        })
    }
}

fn is_spelled_out(section: &str, key: &str) -> bool {
    SPELLED_OUT_SECRETS.iter().any(|(of, beginning)| *of == section && key.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::super::tests::load;
    use super::*;

    fn provided() -> Vec<ProvidedSection> {
        let option = |key: &str, default: Option<&str>, sensitive| ProvidedOption {
            key: key.to_owned(),
            default: default.map(str::to_owned),
            sensitive,
        };
        let section = |name: &str, options| ProvidedSection { name: name.to_owned(), options };
        vec![
            section("celery", vec![option("pool", Some("prefork"), false), option("broker_url", Some("redis:"), true)]),
            section("common.io", vec![option("xcom_objectstorage_path", Some(""), false)]),
            section("logging", vec![option("of_a_provider", Some("1"), false)]),
        ]
    }

    fn shown(sections: &Sections, section: &str, key: &str) -> (String, bool) {
        let exposed = sections.get(section).and_then(|options| options.get(key));
        exposed.map(|exposed| (exposed.text.clone(), exposed.sensitive)).unwrap_or_default()
    }

    #[test]
    fn providers_options_come_first_and_take_values_from_environment_and_file() {
        let cfg = "[celery]\npool = solo\n[common.io]\nxcom_objectstorage_path = file\n";
        let variables = [("AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH", "variable")];
        let sections = load(cfg, &variables).expect("a configuration").exposed(Some(&provided()));
        let names: Vec<&str> = sections.keys().map(String::as_str).collect();
        assert_eq!(names[..4], ["celery", "common.io", "logging", "core"]);
        assert!(!names.contains(&"common_io"));
        assert_eq!(shown(&sections, "celery", "pool"), ("solo".to_owned(), false));
        assert_eq!(shown(&sections, "celery", "broker_url"), ("redis:".to_owned(), true));
        assert_eq!(shown(&sections, "common.io", "xcom_objectstorage_path"), ("variable".to_owned(), false));
        assert_eq!(shown(&sections, "logging", "of_a_provider"), ("1".to_owned(), false));
        assert_eq!(shown(&sections, "logging", "logging_level"), ("INFO".to_owned(), false));
    }

    #[test]
    fn sections_without_values_are_there_and_undocumented_options_only_when_set() {
        let unset = load("", &[]).expect("a configuration").exposed(Some(&[]));
        assert!(unset["sdk"].is_empty());
        assert!(!unset["scheduler"].contains_key("num_stuck_in_queued_retries"));
        let variables = [
            ("AIRFLOW__SCHEDULER__NUM_STUCK_IN_QUEUED_RETRIES", "3"),
            ("AIRFLOW__USAGE_DATA_COLLECTION__ENABLED", "False"),
        ];
        let set = load("[mine]\nkey = $HOME_OF_NOBODY\n", &variables).expect("a configuration").exposed(Some(&[]));
        assert_eq!(shown(&set, "scheduler", "num_stuck_in_queued_retries"), ("3".to_owned(), false));
        assert_eq!(shown(&set, "usage_data_collection", "enabled"), ("False".to_owned(), false));
        assert_eq!(shown(&set, "mine", "key"), ("$HOME_OF_NOBODY".to_owned(), false));
    }

    #[test]
    fn what_may_be_a_secret_of_a_provider_is_left_out_until_the_providers_are_known() {
        let config = load("[opensearch]\npassword = pw\n", &[("AIRFLOW__CELERY__BROKER_URL", "amqp:")])
            .expect("a configuration");
        let sections = config.exposed(None);
        assert!(sections.contains_key("core"));
        assert!(!sections.contains_key("celery") && !sections.contains_key("opensearch"));
    }

    #[test]
    fn secrets_are_known_however_they_are_spelled() {
        let cfg = "[core]\nsql_alchemy_conn = old\n[celery]\nbroker_url_cmd = echo\n[red=database]\nsql_alchemy_conn = team\n";
        let variables = [
            ("AIRFLOW__CORE__FERNET_KEY_CMD", "echo key"),
            ("AIRFLOW__SECRETS__BACKEND_KWARG__ROLE_ID", "role"),
            ("AIRFLOW__RED_TEAM___CORE__FERNET_KEY", "team"),
            ("AIRFLOW__RED_TEAM___CORE__PARALLELISM", "8"),
        ];
        let sections = load(cfg, &variables).expect("a configuration").exposed(Some(&provided()));
        for (section, key) in [
            ("core", "sql_alchemy_conn"),
            ("celery", "broker_url"),
            ("red=database", "sql_alchemy_conn"),
            ("core", "fernet_key"),
            ("secrets", "backend_kwarg__role_id"),
            ("red_team", "_core__fernet_key"),
        ] {
            assert!(shown(&sections, section, key).1, "[{section}] {key} is a secret");
        }
        assert_eq!(shown(&sections, "red_team", "_core__parallelism"), ("8".to_owned(), false));
        assert!(!sections["core"].contains_key("fernet_key_cmd"));
        assert!(!sections["celery"].contains_key("broker_url_cmd"));
    }
}
