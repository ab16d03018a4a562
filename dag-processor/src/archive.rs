//! Zipped Dags, and the text of a Dag file wherever it lies.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Signature of the record that ends every zip archive, the record's size, and the longest comment behind it.
const END_SIGNATURE: &[u8] = b"PK\x05\x06";
const END_SIZE: u64 = 22;
const LONGEST_COMMENT: u64 = 65_535;

/// Whether the file ends as a zip archive does (what Python's `zipfile.is_zipfile` looks at).
///
/// # Errors
/// When the file cannot be read.
pub fn is_archive(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    if size < END_SIZE {
        return Ok(false);
    }
    file.seek(SeekFrom::Start(size.saturating_sub(END_SIZE + LONGEST_COMMENT)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    Ok(tail.windows(END_SIGNATURE.len()).any(|window| window == END_SIGNATURE))
}

/// The members of an archive that may hold Dags: all of them, or with `safe_mode` those that pass
/// [`mentions_dag`].
///
/// # Errors
/// When the archive cannot be read.
pub fn members(path: &Path, safe_mode: bool) -> io::Result<Vec<String>> {
    let mut archive = zip::ZipArchive::new(File::open(path)?)?;
    let mut names = Vec::new();
    for index in 0..archive.len() {
        let mut member = archive.by_index(index)?;
        let mut content = Vec::new();
        if safe_mode {
            member.read_to_end(&mut content)?;
        }
        if !safe_mode || mentions_dag(&content) {
            names.push(member.name().to_owned());
        }
    }
    Ok(names)
}

/// Airflow's guess whether a file may hold Dags: it speaks of `airflow`, and of `dag` or `asset`
/// (`might_contain_dag_via_default_heuristic` in `airflow/utils/file.py`).
#[must_use]
pub fn mentions_dag(content: &[u8]) -> bool {
    let content = content.to_ascii_lowercase();
    let contains = |word: &[u8]| content.windows(word.len()).any(|window| window == word);
    contains(b"airflow") && (contains(b"dag") || contains(b"asset"))
}

/// The source of a Dag file; `fileloc` may point into an archive (`/dags/packed.zip/dag.py`). Line ends become `\n`,
/// as in Python's text mode.
///
/// # Errors
/// When the file is not there or is not UTF-8.
pub fn source_code(fileloc: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    match split_archive(fileloc) {
        Some((archive, member)) if is_archive(Path::new(archive))? => {
            zip::ZipArchive::new(File::open(archive)?)?.by_name(member)?.read_to_end(&mut bytes)?;
        }
        _ => bytes = std::fs::read(fileloc)?,
    }
    let text = String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text })
}

/// Splits behind the last `.zip` that stands for a folder.
fn split_archive(fileloc: &str) -> Option<(&str, &str)> {
    let at = fileloc.rfind(".zip/")?;
    Some((&fileloc[..at + ".zip".len()], &fileloc[at + ".zip/".len()..]))
}
