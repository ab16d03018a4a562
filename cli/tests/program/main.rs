//! The program as a whole, run as a user runs it.
#![forbid(unsafe_code)]

mod command_line;
mod invocation;
mod standalone;
