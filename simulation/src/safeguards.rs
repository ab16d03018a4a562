//! What keeps the invariants, each of which can be taken away to see that the simulation notices.

macro_rules! safeguards {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// What the product does to keep its invariants; all of it, unless something is switched off.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Safeguards {
            $($(#[$doc])+ pub $name: bool,)+
        }

        impl Default for Safeguards {
            fn default() -> Self {
                Self { $($name: true,)+ }
            }
        }

        impl Safeguards {
            /// The names of all.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];

            /// All but the one of this name.
            pub fn without(name: &str) -> Self {
                Self { $($name: name != stringify!($name),)+ }
            }
        }
    };
}

safeguards! {
    /// A claim takes only what is `queued` (`metadata/queries/task_instance/transition.sql`).
    claim_compares,
    /// A report is accepted only of an attempt that is `running` (`metadata/src/attempt/mod.rs`).
    report_compares,
    /// A report whose answer got lost is made again only if the attempt still is this process's
    /// (`worker/src/attempt.rs`).
    report_is_fenced,
    /// A report is answered after its transaction was committed.
    report_waits_for_commit,
    /// `scheduled → queued` happens under Airflow's advisory lock (`scheduler/src/dispatch.rs`).
    critical_section,
    /// What is active is counted after the lock was taken, not before.
    counts_are_fresh,
    /// The message is written in the transaction that sets `queued`.
    outbox,
    /// Lost messages are written anew (`scheduler/queries/reaper/lost_messages.sql`).
    resend,
    /// Silent attempts are ended (`scheduler/queries/reaper/silent_attempts.sql`).
    reaper,
    /// Runs are looked at from time to time, also when nobody told of them.
    sweep,
    /// Who runs into a limit of its own keeps nobody waiting (`model::limits::Room::select`).
    starved_step_aside,
    /// Runs are started while the rows of their Dags are held (`scheduler/queries/lock_dags_with_queued_runs.sql`).
    run_start_holds_dags,
    /// A run is scheduled while its row is held (`metadata/queries/run_facts/run.sql`).
    step_holds_run,
    /// A step that is not wholly written does not end the run (`scheduler/src/run_scheduling.rs`).
    end_waits_for_step,
    /// A Dag has one run per logical date (a constraint of Airflow's schema).
    runs_are_unique,
}
