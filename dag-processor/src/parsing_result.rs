//! What the parse child sends back, and what stands for it when the child fails.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tradewind_airflow::supervisor_protocol::dag_processor::DagFileParsingResult;
use tradewind_metadata::parse_result::{DagWarning, ParsedFile};

use crate::bundle::DagBundle;
use crate::parsed_dag::{self, DagDefaults};
use crate::queue::FileKey;

/// Turns the result of parsing `key` into rows. A Dag that cannot be read becomes an import error.
pub(crate) fn read(
    result: DagFileParsingResult,
    key: &FileKey,
    bundle: &DagBundle,
    duration: Duration,
    defaults: &DagDefaults,
) -> ParsedFile {
    let mut file = ParsedFile {
        import_errors: result
            .import_errors
            .unwrap_or_default()
            .into_iter()
            .map(|(path, text)| (relative(&path, &bundle.path), text))
            .collect(),
        warnings: result.warnings.unwrap_or_default().iter().filter_map(warning).collect(),
        ..empty(key, duration)
    };
    for dag in result.serialized_dags {
        let fields = &dag.data["dag"];
        let name = fields["dag_id"].as_str().unwrap_or("?").to_owned();
        let path = fields["relative_fileloc"].as_str().map_or_else(|| file.relative_fileloc.clone(), str::to_owned);
        match parsed_dag::read(dag.data, defaults) {
            Ok(dag) => file.dags.push(dag),
            Err(error) => {
                file.import_errors.insert(path, format!("Dag {name}: {error}"));
            }
        }
    }
    file
}

/// A result that is nothing but an import error of the file.
pub(crate) fn failed(key: &FileKey, duration: Duration, error: String) -> ParsedFile {
    let mut file = empty(key, duration);
    file.import_errors.insert(file.relative_fileloc.clone(), error);
    file
}

fn empty(key: &FileKey, duration: Duration) -> ParsedFile {
    ParsedFile {
        bundle_name: key.bundle.clone(),
        bundle_version: None,
        relative_fileloc: key.path.to_string_lossy().into_owned(),
        duration,
        dags: Vec::new(),
        import_errors: BTreeMap::new(),
        warnings: Vec::new(),
    }
}

/// Airflow names the members of archives by their absolute path, everything else relative to the bundle.
fn relative(path: &str, bundle: &Path) -> String {
    Path::new(path).strip_prefix(bundle).map_or_else(|_| path.to_owned(), |path| path.to_string_lossy().into_owned())
}

fn warning(encoded: &Value) -> Option<DagWarning> {
    let text = |key: &str| encoded.get(key)?.as_str().map(str::to_owned);
    Some(DagWarning { dag_id: text("dag_id")?, warning_type: text("warning_type")?, message: text("message")? })
}
