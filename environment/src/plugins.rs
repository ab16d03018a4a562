//! Unpacks `plugins.zip`.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use zip::ZipArchive;
use zip::result::ZipError;

/// Why an archive cannot be the plugins folder.
#[derive(Debug, thiserror::Error)]
pub enum PluginsError {
    /// It is no archive, or a broken one.
    #[error("it cannot be read: {0}\nhint: upload it anew (`cd plugins; zip -r ../plugins.zip .`)")]
    Archive(#[from] ZipError),
    /// A member would lie elsewhere.
    #[error(
        "its member {0:?} lies outside of the plugins folder\nhint: pack the contents of the folder, with paths within it"
    )]
    Escapes(String),
    /// A member is a link, which may lead elsewhere.
    #[error("its member {0:?} is a link\nhint: pack the file itself (`zip` without `--symlinks`)")]
    Link(String),
    /// It cannot be stored.
    #[error("it cannot be unpacked: {0}")]
    Store(#[from] io::Error),
}

/// Unpacks an archive into a new folder. Nobody but who made the archive decides how large it becomes.
pub(crate) fn unpack(archive: &Path, folder: &Path) -> Result<(), PluginsError> {
    let mut archive = ZipArchive::new(File::open(archive)?)?;
    fs::create_dir(folder)?;
    for index in 0..archive.len() {
        let mut member = archive.by_index(index)?;
        let name = member.name().to_owned();
        let Some(path) = member.enclosed_name() else { return Err(PluginsError::Escapes(name)) };
        if member.is_symlink() {
            return Err(PluginsError::Link(name));
        }
        let path = folder.join(path);
        if member.is_dir() {
            fs::create_dir_all(&path)?;
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        io::copy(&mut member, &mut File::create(&path)?)?;
        // Programs stay programs.
        let is_program = member.unix_mode().is_some_and(|mode| mode & 0o111 != 0);
        fs::set_permissions(&path, Permissions::from_mode(if is_program { 0o755 } else { 0o644 }))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn unpacked(fill: impl FnOnce(&mut ZipWriter<File>)) -> (tempfile::TempDir, Result<(), PluginsError>) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("plugins.zip");
        let mut writer = ZipWriter::new(File::create(&path).expect("a file"));
        fill(&mut writer);
        writer.finish().expect("an archive");
        let outcome = unpack(&path, &folder.path().join("plugins"));
        (folder, outcome)
    }

    fn add(writer: &mut ZipWriter<File>, name: &str, mode: u32) {
        writer.start_file(name, SimpleFileOptions::default().unix_permissions(mode)).expect("a member");
        writer.write_all(b"content").expect("its content");
    }

    #[test]
    fn files_folders_and_programs_are_unpacked() {
        let (folder, outcome) = unpacked(|writer| {
            add(writer, "operators/mine.py", 0o644);
            add(writer, "tool", 0o755);
        });
        outcome.expect("unpacked");
        let mode = |path: &str| fs::metadata(folder.path().join(path)).expect("a file").permissions().mode() & 0o777;
        assert_eq!((mode("plugins/operators/mine.py"), mode("plugins/tool")), (0o644, 0o755));
    }

    #[test]
    fn what_would_lie_elsewhere_is_refused() {
        let (folder, outcome) = unpacked(|writer| add(writer, "../escaped.py", 0o644));
        assert!(outcome.expect_err("refused").to_string().starts_with("its member \"../escaped.py\" lies outside"));
        assert!(!folder.path().join("escaped.py").exists());
        let (_folder, outcome) = unpacked(|writer| {
            writer.add_symlink("link", "/etc", SimpleFileOptions::default()).expect("a link");
        });
        assert!(outcome.expect_err("refused").to_string().starts_with("its member \"link\" is a link"));
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("plugins.zip");
        fs::write(&path, "no archive").expect("a file");
        let error = unpack(&path, &folder.path().join("plugins")).expect_err("refused").to_string();
        assert!(error.starts_with("it cannot be read: ") && error.contains("hint: upload it anew"), "{error}");
    }
}
