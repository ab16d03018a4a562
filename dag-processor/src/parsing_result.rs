//! What the parse child sends back, and what stands for it when the child fails.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use sha1::{Digest as _, Sha1};
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
        ..empty(key, bundle, duration)
    };
    let module = module_names(key, bundle);
    for mut dag in result.serialized_dags {
        if let Some((parsed, lasting)) = &module {
            rename(&mut dag.data, parsed, lasting);
        }
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

/// Official Airflow names the module of a Dag file by its path, and serialized Dags name the modules of their operators. In a
/// snapshot the path changes with every version of the bundle, upon which every Dag would seem to have changed: the name that
/// was parsed, and the one to store.
fn module_names(key: &FileKey, bundle: &DagBundle) -> Option<(String, String)> {
    bundle.origin.as_ref()?;
    // `get_unique_dag_module_name` in `airflow/utils/file.py`, without the part that follows.
    let name = |path: &Path| {
        let hash = Sha1::digest(path.as_os_str().as_encoded_bytes());
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("unusual_prefix_{hash}_")
    };
    Some((name(&bundle.path.join(&key.path)), name(&Path::new(&bundle.name).join(&key.path))))
}

fn rename(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) if text.contains(from) => *text = text.replace(from, to),
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, from, to)),
        Value::Object(fields) => fields.values_mut().for_each(|field| rename(field, from, to)),
        _ => {}
    }
}

/// A result that is nothing but an import error of the file.
pub(crate) fn failed(key: &FileKey, bundle: &DagBundle, duration: Duration, error: String) -> ParsedFile {
    let mut file = empty(key, bundle, duration);
    file.import_errors.insert(file.relative_fileloc.clone(), error);
    file
}

fn empty(key: &FileKey, bundle: &DagBundle, duration: Duration) -> ParsedFile {
    ParsedFile {
        bundle_name: key.bundle.clone(),
        bundle_version: bundle.version().map(str::to_owned),
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
