//! What a version of the environment is made of. Pure.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tradewind_bundle::manifest::ObjectState;

/// Letters of a version, as many as a version of a Dag bundle has.
const VERSION_LENGTH: usize = 40;

/// Changes when environments are built in another way, so that old ones are not taken for new ones.
const FORMAT: u32 = 1;

/// Which process an environment is for, as `MWAA_AIRFLOW_COMPONENT` tells the start-up script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// Schedulers and Dag processors.
    Scheduler,
    /// Workers.
    Worker,
}

impl Component {
    /// The value of `MWAA_AIRFLOW_COMPONENT`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
            Self::Worker => "worker",
        }
    }
}

/// An object that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its key.
    pub key: String,
    /// Its state.
    #[serde(flatten)]
    pub state: ObjectState,
}

/// The objects that an environment is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What pip installs.
    pub requirements: Option<Part>,
    /// A zip archive that becomes the plugins folder.
    pub plugins: Option<Part>,
    /// A script that bash runs first.
    pub startup_script: Option<Part>,
}

impl Manifest {
    /// The version that these objects make of installed packages. A script may do something else for each component.
    #[must_use]
    pub fn version(&self, packages: &[String], component: Component) -> String {
        let content = |part: &Option<Part>| part.as_ref().map(|part| (part.state.etag.clone(), part.state.size));
        let component = self.startup_script.as_ref().map(|_| component.name());
        let parts = (content(&self.requirements), content(&self.plugins), content(&self.startup_script));
        let text = format!("{:?}", (FORMAT, packages, component, parts));
        let digest = Sha256::digest(text);
        let mut version: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        version.truncate(VERSION_LENGTH);
        version
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(etag: &str) -> Option<Part> {
        let state = ObjectState { etag: etag.to_owned(), size: 1, version_id: Some("v".to_owned()) };
        Some(Part { key: "k".to_owned(), state })
    }

    #[test]
    fn a_version_changes_with_what_it_is_made_of() {
        let packages = ["a-1".to_owned()];
        let plain = Manifest { requirements: part("x"), ..Manifest::default() };
        let version = |manifest: &Manifest, component| manifest.version(&packages, component);
        let first = version(&plain, Component::Worker);
        assert_eq!(first, version(&plain, Component::Scheduler), "without a script all have the same");
        assert_ne!(first, plain.version(&[], Component::Worker));
        assert_ne!(first, version(&Manifest { requirements: part("y"), ..plain.clone() }, Component::Worker));
        assert_ne!(first, version(&Manifest { plugins: part("x"), ..plain.clone() }, Component::Worker));
        let scripted = Manifest { startup_script: part("x"), ..plain };
        assert_ne!(version(&scripted, Component::Worker), version(&scripted, Component::Scheduler));
    }
}
