//! Makes a snapshot: links what is the same as in another one, fetches the rest, looks whether it is sound, puts it in place.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tradewind_aws::s3::{Bucket, S3Error, Wanted};

use crate::manifest::{Manifest, ObjectState};
use crate::store::{Snapshot, SnapshotStore};

/// How many objects are fetched at once.
const FETCHES_AT_ONCE: usize = 16;

/// The mode of the files: nobody changes a snapshot, whose files others share.
const FILE_MODE: u32 = 0o444;

/// Why a snapshot cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The bucket does not give what is needed.
    #[error(transparent)]
    S3(#[from] S3Error),
    /// A zip archive is none.
    #[error("the zip archive {key:?} cannot be read: {detail}\nhint: upload it anew, or delete it")]
    Archive {
        /// Its key.
        key: String,
        /// What the reader says.
        detail: String,
    },
    /// The files cannot be written.
    #[error(
        "the snapshot cannot be stored: {0}\nhint: look at [dag_processor] dag_bundle_storage_path and the space there"
    )]
    Store(#[from] io::Error),
}

/// What a snapshot is made of.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The bucket.
    pub bucket: &'a Bucket,
    /// What its keys start with.
    pub prefix: &'a str,
    /// A snapshot to share files with.
    pub like: Option<(&'a Manifest, &'a Snapshot)>,
}

/// Makes the snapshot of a manifest, and notes in the manifest which versions of its objects were fetched.
///
/// # Errors
/// It cannot be made; nothing is left of it.
pub async fn build(store: &SnapshotStore, source: Source<'_>, manifest: &mut Manifest) -> Result<Snapshot, BuildError> {
    let version = manifest.version();
    let staged = store.stage()?;
    for path in manifest.objects.keys() {
        if let Some(folder) = Path::new(path).parent() {
            fs::create_dir_all(staged.path().join(folder))?;
        }
    }
    let mut fetches = Vec::new();
    for (path, object) in &mut manifest.objects {
        if !link(source, path, object, staged.path()) {
            fetches.push(fetch(source, path, object, staged.path()));
        }
    }
    stream::iter(fetches).buffer_unordered(FETCHES_AT_ONCE).try_collect::<()>().await?;
    Ok(store.publish(staged, &version)?)
}

/// Links the file of an object that the other snapshot has too; returns whether this was done.
fn link(source: Source<'_>, path: &str, object: &mut ObjectState, folder: &Path) -> bool {
    let Some((manifest, snapshot)) = source.like else { return false };
    let Some(known) = manifest.objects.get(path).filter(|known| known.is_same(object)) else { return false };
    if fs::hard_link(snapshot.path().join(path), folder.join(path)).is_err() {
        return false;
    }
    if object.version_id.is_none() {
        object.version_id.clone_from(&known.version_id);
    }
    true
}

async fn fetch(source: Source<'_>, path: &str, object: &mut ObjectState, folder: &Path) -> Result<(), BuildError> {
    let key = format!("{}{path}", source.prefix);
    let wanted = Wanted { key: &key, etag: &object.etag, size: object.size, version_id: object.version_id.as_deref() };
    let file = folder.join(path);
    let fetched = source.bucket.fetch(wanted, &file).await?;
    if path.to_ascii_lowercase().ends_with(".zip") {
        check_archive(&key, &file)?;
    }
    fs::set_permissions(&file, Permissions::from_mode(FILE_MODE))?;
    object.version_id = fetched;
    Ok(())
}

/// A truncated archive lacks its directory, which is at its end; what its members hold is found out by who reads them.
fn check_archive(key: &str, file: &Path) -> Result<(), BuildError> {
    let archive = zip::ZipArchive::new(File::open(file)?);
    archive.map(drop).map_err(|error| BuildError::Archive { key: key.to_owned(), detail: error.to_string() })
}
