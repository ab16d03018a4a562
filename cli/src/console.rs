//! What a person who runs the program reads. A reader that went away is no reason to fail.

use std::fmt::Arguments;
use std::io::{Write, stderr, stdout};

/// Writes one line to standard output.
pub(crate) fn say(line: Arguments<'_>) {
    let mut output = stdout().lock();
    let written = writeln!(output, "{line}").and_then(|()| output.flush());
    drop(written);
}

/// Writes one line to standard error.
pub(crate) fn complain(line: Arguments<'_>) {
    let written = writeln!(stderr().lock(), "{line}");
    drop(written);
}
