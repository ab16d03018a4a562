//! What a version of a bundle consists of. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tradewind_aws::s3::ListedObject;

use crate::key::{Unsafe, path_of};

/// Letters of a version: as many as those of a Git commit, which Airflow shows for its Git bundles.
const VERSION_LENGTH: usize = 40;

/// An object of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectState {
    /// What tells its content from others under the same key.
    pub etag: String,
    /// Bytes.
    pub size: u64,
    /// The version that S3 keeps of it, where the bucket keeps versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
}

impl ObjectState {
    /// Whether both are the same content.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.etag == other.etag && self.size == other.size
    }
}

/// The objects of a version, by their path below the prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Manifest {
    /// The objects.
    pub objects: BTreeMap<String, ObjectState>,
}

/// Why the objects below a prefix cannot be the files of a folder.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ManifestError {
    /// A key names no file within the folder.
    #[error("the key {key:?} {reason}\nhint: rename or delete that object")]
    Key {
        /// The whole key.
        key: String,
        /// What is wrong with it.
        reason: Unsafe,
    },
    /// A key would have to be a file and a folder.
    #[error("the object {file:?} lies where others ({inner:?}) need a folder\nhint: rename or delete one of them")]
    Both {
        /// The key that is a file.
        file: String,
        /// A key below it.
        inner: String,
    },
}

impl Manifest {
    /// What a listing of `prefix` shows.
    ///
    /// # Errors
    /// The objects cannot be the files of a folder.
    pub fn of_listing(prefix: &str, listing: Vec<ListedObject>) -> Result<Self, ManifestError> {
        let mut objects = BTreeMap::new();
        for object in listing {
            let below = object.key.strip_prefix(prefix).unwrap_or(&object.key);
            let path = path_of(below).map_err(|reason| ManifestError::Key { key: object.key.clone(), reason })?;
            if path.is_some() {
                let state = ObjectState { etag: object.etag, size: object.size, version_id: None };
                objects.insert(below.to_owned(), state);
            }
        }
        for path in objects.keys() {
            let mut folders = path.match_indices('/').map(|(at, _)| &path[..at]);
            if let Some(file) = folders.find(|folder| objects.contains_key(*folder)) {
                return Err(ManifestError::Both { file: format!("{prefix}{file}"), inner: format!("{prefix}{path}") });
            }
        }
        Ok(Self { objects })
    }

    /// The name of this version: the same for the same content, whoever looks, and another one for any other.
    #[must_use]
    pub fn version(&self) -> String {
        let mut hash = Sha256::new();
        for (path, object) in &self.objects {
            // Neither a path nor a tag has a NUL.
            hash.update(format!("{path}\0{}\0{}\0", object.etag, object.size));
        }
        let mut version: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        version.truncate(VERSION_LENGTH);
        version
    }

    /// Takes over the versions of objects that are the same in `other`.
    #[must_use]
    pub fn with_versions_of(mut self, other: &Self) -> Self {
        for (path, object) in &mut self.objects {
            if let Some(known) = other.objects.get(path).filter(|known| known.is_same(object)) {
                object.version_id.clone_from(&known.version_id);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    use super::*;

    fn listed(key: &str, etag: &str, size: u64) -> ListedObject {
        ListedObject { key: key.to_owned(), etag: etag.to_owned(), size }
    }

    #[test]
    fn a_listing_becomes_files() {
        let listing = vec![listed("dags/", "d", 0), listed("dags/a.py", "1", 3), listed("dags/team/b.py", "2", 4)];
        let manifest = Manifest::of_listing("dags/", listing).expect("a manifest");
        assert_eq!(manifest.objects.keys().collect::<Vec<_>>(), ["a.py", "team/b.py"]);
        let text = serde_json::to_string(&manifest).expect("JSON");
        assert_eq!(text, r#"{"a.py":{"etag":"1","size":3},"team/b.py":{"etag":"2","size":4}}"#);
        assert_eq!(serde_json::from_str::<Manifest>(&text).expect("a manifest"), manifest);
    }

    #[test]
    fn what_cannot_be_a_folder_is_refused() {
        let escaping = Manifest::of_listing("dags/", vec![listed("dags/../x.py", "1", 1)]);
        let expected = ManifestError::Key { key: "dags/../x.py".to_owned(), reason: Unsafe::Dots };
        assert_eq!(escaping, Err(expected));
        let both = Manifest::of_listing("", vec![listed("a", "1", 1), listed("a.py", "1", 1), listed("a/b/c", "1", 1)]);
        let expected = ManifestError::Both { file: "a".to_owned(), inner: "a/b/c".to_owned() };
        assert_eq!(both, Err(expected));
    }

    fn states() -> impl Strategy<Value = BTreeMap<String, (String, u64)>> {
        btree_map("[a-c]{1,2}", ("[0-1]{1,2}", 0..3_u64), 0..4)
    }

    fn manifest(states: &BTreeMap<String, (String, u64)>, version_id: Option<&str>) -> Manifest {
        let state =
            |etag: &str, size| ObjectState { etag: etag.to_owned(), size, version_id: version_id.map(str::to_owned) };
        Manifest { objects: states.iter().map(|(path, (etag, size))| (path.clone(), state(etag, *size))).collect() }
    }

    proptest! {
        #[test]
        fn versions_are_equal_where_contents_are(one in states(), other in states()) {
            let equal = manifest(&one, None).version() == manifest(&other, Some("v")).version();
            prop_assert_eq!(equal, one == other);
        }

        #[test]
        fn versions_of_the_same_objects_are_taken_over(one in states(), other in states()) {
            let taken = manifest(&one, None).with_versions_of(&manifest(&other, Some("v")));
            for (path, object) in &taken.objects {
                prop_assert_eq!(object.version_id.is_some(), other.get(path) == one.get(path));
            }
        }
    }
}
