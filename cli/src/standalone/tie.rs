//! Ties a program to its parent: the kernel interrupts it when the parent dies, however that happens.
//!
//! The program `tradewind tie` becomes the program it is given, so that no process is left in between. It changes the
//! user first, because the kernel forgets the tie when the user changes (prctl(2), `PR_SET_PDEATHSIG`).

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, getppid, setgid, setgroups, setuid};

use crate::arguments::Tie;

/// Becomes the program; returns only when that fails.
pub(crate) fn run(tie: &Tie) -> anyhow::Error {
    let Some((program, arguments)) = tie.program.split_first() else {
        return anyhow::anyhow!("there is no program to run");
    };
    match prepare(tie) {
        Ok(()) => anyhow::Error::from(Command::new(program).args(arguments).exec())
            .context(format!("cannot run {}", program.display())),
        Err(error) => error,
    }
}

fn prepare(tie: &Tie) -> Result<()> {
    if let (Some(uid), Some(gid)) = (tie.uid, tie.gid) {
        let gid = Gid::from_raw(gid);
        setgroups(&[gid])
            .and_then(|()| setgid(gid))
            .and_then(|()| setuid(Uid::from_raw(uid)))
            .context("cannot change the user")?;
    }
    set_pdeathsig(Signal::SIGINT).context("cannot tie the program to its parent")?;
    // The parent may have died before the tie was made.
    if u32::try_from(getppid().as_raw()) != Ok(tie.parent) {
        bail!("the parent process is gone");
    }
    Ok(())
}
