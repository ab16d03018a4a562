//! The virtual environment with the installed packages, and copies of it.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

/// Programs of the environment, which name its folder in their first line, and scripts that name it elsewhere.
const PROGRAMS: &str = "bin";

/// Where the environment says what it was made of.
const CONFIGURATION: &str = "pyvenv.cfg";

/// A virtual environment.
#[derive(Debug, Clone)]
pub struct Packages {
    root: PathBuf,
}

impl Packages {
    /// The environment in a folder.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Its folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// One of its programs.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.root.join(PROGRAMS).join(name)
    }

    /// The folder of its packages.
    ///
    /// # Errors
    /// It has none.
    pub fn folder(&self) -> io::Result<PathBuf> {
        for entry in fs::read_dir(self.root.join("lib"))? {
            let folder = entry?.path().join("site-packages");
            if folder.is_dir() {
                return Ok(folder);
            }
        }
        Err(io::Error::new(io::ErrorKind::NotFound, format!("{} has no packages", self.root.display())))
    }

    /// Every package with its version, such as `requests-2.34.2`, in order.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.folder()?)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            names.extend(name.strip_suffix(".dist-info").map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    /// Makes a copy whose files are shared where the file system can: who installs a package replaces files, and writes into none.
    pub(crate) fn copy_to(&self, target: &Path) -> io::Result<Self> {
        // It may be reached through a link.
        let real = fs::canonicalize(&self.root)?;
        let mut names = vec![self.root.to_string_lossy(), real.to_string_lossy()];
        // One may begin with the other.
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        names.dedup();
        for entry in WalkDir::new(&real) {
            let entry = entry?;
            let Ok(path) = entry.path().strip_prefix(&real) else { continue };
            let copy = target.join(path);
            if entry.file_type().is_dir() {
                fs::create_dir(&copy)?;
            } else if entry.path_is_symlink() {
                symlink(fs::read_link(entry.path())?, &copy)?;
            } else if path == Path::new(CONFIGURATION) || path.starts_with(PROGRAMS) {
                copy_moved(entry.path(), &copy, &names, target)?;
            } else if fs::hard_link(entry.path(), &copy).is_err() {
                fs::copy(entry.path(), &copy)?;
            }
        }
        Ok(Self::new(target))
    }
}

/// Copies a file in which the folder of the environment may be named, by each of its names.
fn copy_moved(from: &Path, to: &Path, names: &[Cow<'_, str>], target: &Path) -> io::Result<()> {
    let target = target.to_string_lossy();
    match String::from_utf8(fs::read(from)?) {
        Ok(text) => fs::write(to, names.iter().fold(text, |text, name| text.replace(name.as_ref(), &target)))?,
        // A program of machine code.
        Err(binary) => fs::write(to, binary.as_bytes())?,
    }
    fs::set_permissions(to, fs::Permissions::from_mode(fs::metadata(from)?.permissions().mode()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_copy_shares_packages_and_has_programs_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("base");
        let packages = root.join("lib/python3.11/site-packages");
        fs::create_dir_all(packages.join("b-2.dist-info")).expect("a folder");
        fs::create_dir_all(packages.join("a-1.dist-info")).expect("a folder");
        fs::create_dir_all(root.join("bin")).expect("a folder");
        fs::write(packages.join("b.py"), "").expect("a file");
        fs::write(root.join("bin/tool"), format!("#!{}/bin/python\n", root.display())).expect("a file");
        fs::set_permissions(root.join("bin/tool"), fs::Permissions::from_mode(0o755)).expect("a mode");
        symlink("/usr/bin/python3", root.join("bin/python")).expect("a link");
        let target = folder.path().join("copy");
        let copy = Packages::new(&root).copy_to(&target).expect("a copy");
        assert_eq!(copy.names().expect("names"), ["a-1", "b-2"]);
        let inode = |root: &Path| fs::metadata(root.join("lib/python3.11/site-packages/b.py")).expect("a file").ino();
        assert_eq!(inode(&root), inode(&target));
        let tool = fs::read_to_string(target.join("bin/tool")).expect("a program");
        assert_eq!(tool, format!("#!{}/bin/python\n", target.display()));
        assert_eq!(fs::metadata(target.join("bin/tool")).expect("a file").permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read_link(target.join("bin/python")).expect("a link"), Path::new("/usr/bin/python3"));
    }
    #[test]
    fn an_environment_behind_a_link_is_copied() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = fs::canonicalize(folder.path()).expect("a folder");
        let (root, link) = (folder.join("base"), folder.join("base-link"));
        fs::create_dir_all(root.join("bin")).expect("a folder");
        for named in [&root, &link] {
            let program = root.join("bin").join(named.file_name().unwrap_or_default());
            fs::write(program, format!("#!{}/bin/python\n", named.display())).expect("a file");
        }
        symlink(&root, &link).expect("a link");
        let target = folder.join("copy");
        Packages::new(&link).copy_to(&target).expect("a copy");
        for program in ["base", "base-link"] {
            let text = fs::read_to_string(target.join("bin").join(program)).expect("a program");
            assert_eq!(text, format!("#!{}/bin/python\n", target.display()));
        }
    }
}
