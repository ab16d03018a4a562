use crate::mapping::ExpandInput;

/// Position of a group in [`super::Dag::groups`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupIndex(pub usize);

impl GroupIndex {
    /// The group that holds everything.
    pub const ROOT: Self = Self(0);
}

/// A task group. Its children are the tasks and groups that name it as their parent.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskGroup {
    /// Unique name within the Dag; empty for the root group.
    pub group_id: String,
    /// Name shown to people, when it differs.
    pub display_name: Option<String>,
    /// Group around it; `None` for the root group.
    pub parent: Option<GroupIndex>,
    /// What a mapped group is expanded over; `None` for a plain group.
    pub expand_input: Option<ExpandInput>,
}

impl TaskGroup {
    /// The group around everything.
    pub fn root() -> Self {
        Self { group_id: String::new(), display_name: None, parent: None, expand_input: None }
    }
}
