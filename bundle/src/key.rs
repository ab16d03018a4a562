//! Which file of a snapshot an object becomes. Pure.

use std::fmt;
use std::path::PathBuf;

/// The longest name of a file, and the longest path below a snapshot, that Linux takes with room for what is above.
const LONGEST_NAME: usize = 255;
const LONGEST_PATH: usize = 3072;

/// Why a key names no file within a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsafe {
    /// It begins with a slash below the prefix.
    Absolute,
    /// A part of it is `.` or `..`.
    Dots,
    /// It has two slashes in a row.
    EmptyPart,
    /// It has a NUL.
    Nul,
    /// It, or a part of it, is longer than a path may be.
    TooLong,
}

impl fmt::Display for Unsafe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absolute => "is an absolute path",
            Self::Dots => "has a part \".\" or \"..\", which would leave the folder of the Dags",
            Self::EmptyPart => "has an empty part",
            Self::Nul => "has a NUL character",
            Self::TooLong => "is too long for the path of a file",
        })
    }
}

/// The path, below the folder of a snapshot, of the object with this key below the prefix. `None` for what stands for a folder
/// (S3's console makes such objects), and needs no file.
///
/// # Errors
/// The key is no path within the folder.
pub fn path_of(key: &str) -> Result<Option<PathBuf>, Unsafe> {
    if key.is_empty() {
        return Ok(None);
    }
    if key.contains('\0') {
        return Err(Unsafe::Nul);
    }
    if key.starts_with('/') {
        return Err(Unsafe::Absolute);
    }
    let (path, is_folder) = key.strip_suffix('/').map_or((key, false), |folder| (folder, true));
    for part in path.split('/') {
        match part {
            "" => return Err(Unsafe::EmptyPart),
            "." | ".." => return Err(Unsafe::Dots),
            _ if part.len() > LONGEST_NAME => return Err(Unsafe::TooLong),
            _ => {}
        }
    }
    if path.len() > LONGEST_PATH {
        return Err(Unsafe::TooLong);
    }
    Ok((!is_folder).then(|| PathBuf::from(path)))
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_become_paths_or_are_refused() {
        let long = "x".repeat(256);
        for (key, expected) in [
            ("a.py", Ok(Some(Path::new("a.py")))),
            ("team/a b+ü.py", Ok(Some(Path::new("team/a b+ü.py")))),
            ("..a/b..", Ok(Some(Path::new("..a/b..")))),
            ("", Ok(None)),
            ("team/", Ok(None)),
            ("/etc/passwd", Err(Unsafe::Absolute)),
            ("../a.py", Err(Unsafe::Dots)),
            ("team/../../a.py", Err(Unsafe::Dots)),
            ("team/..", Err(Unsafe::Dots)),
            ("../", Err(Unsafe::Dots)),
            ("./a.py", Err(Unsafe::Dots)),
            ("team//a.py", Err(Unsafe::EmptyPart)),
            ("a\0.py", Err(Unsafe::Nul)),
            (&long, Err(Unsafe::TooLong)),
        ] {
            assert_eq!(path_of(key), expected.map(|path| path.map(Path::to_owned)), "{key:?}");
        }
    }

    proptest! {
        /// Whatever a key is made of, its file is within the folder, and no other key's.
        #[test]
        fn no_key_leaves_the_folder(parts in proptest::collection::vec(r"(\.|/|\x00|a|ü|\\){0,4}", 1..6)) {
            let key = parts.join("/");
            if let Ok(Some(path)) = path_of(&key) {
                prop_assert!(path.components().all(|part| matches!(part, Component::Normal(_))));
                prop_assert_eq!(path.to_str(), Some(key.as_str()));
                let joined: PathBuf = Path::new("/snapshot").join(&path).components().collect();
                prop_assert!(joined.starts_with("/snapshot") && joined != Path::new("/snapshot"));
            }
        }
    }
}
