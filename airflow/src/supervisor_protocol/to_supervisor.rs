//! Requests which a task child (and a Dag-file child) sends to its supervisor.
//!
//! Source: `ToSupervisor` in `airflow/sdk/execution_time/comms.py` and the shapes in
//! `airflow/sdk/execution_time/schema/schema.json`. Fields that only repeat the message's own kind
//! (`state` of a message that can report one state) are left out; unknown fields are ignored, so that a newer
//! patch release of the SDK can add some.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::duration::IsoDuration;

/// A JSON object, such as the arguments of a trigger.
pub type Object = Map<String, Value>;

macro_rules! messages {
    ($($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident: $type:ty),* $(,)? })+) => {
        /// Every request of the task channel.
        #[derive(Debug, Clone, PartialEq, Deserialize)]
        #[serde(tag = "type")]
        pub enum ToSupervisor {
            $($(#[$meta])* $name($name),)+
        }

        impl ToSupervisor {
            /// The names of all requests, as in the `type` field.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];

            /// The name of this request.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => stringify!($name)),+ }
            }
        }

        $(
            $(#[$meta])*
            #[derive(Debug, Clone, PartialEq, Deserialize)]
            pub struct $name { $($(#[$fmeta])* pub $field: $type),* }

            impl From<$name> for ToSupervisor {
                fn from(message: $name) -> Self {
                    Self::$name(message)
                }
            }
        )+
    };
}

messages! {
    // Reports that end, park or divert the attempt.

    /// The attempt ended in a state that needs no other fact.
    TaskState {
        /// `failed`, `skipped` or `removed`.
        state: TerminalState,
        /// When it ended.
        #[serde(default)]
        end_date: Option<DateTime<Utc>>,
        /// Label of the mapped task instance.
        #[serde(default)]
        rendered_map_index: Option<String>,
    }
    /// The attempt succeeded.
    SucceedTask {
        /// When it ended.
        end_date: DateTime<Utc>,
        /// Assets, references and aliases which the task declares as outlets.
        #[serde(default)]
        task_outlets: Option<Vec<AssetProfile>>,
        /// What the task said about its outlets.
        #[serde(default)]
        outlet_events: Option<Vec<OutletEvent>>,
        /// Label of the mapped task instance.
        #[serde(default)]
        rendered_map_index: Option<String>,
    }
    /// The attempt failed and another one shall follow.
    RetryTask {
        /// When it ended.
        end_date: DateTime<Utc>,
        /// Label of the mapped task instance.
        #[serde(default)]
        rendered_map_index: Option<String>,
        /// Seconds to wait instead of the task's own delay; a retry policy chose them.
        #[serde(default)]
        retry_delay_seconds: Option<f64>,
        /// Why the retry policy chose so.
        #[serde(default)]
        retry_reason: Option<String>,
    }
    /// The task waits for a trigger.
    DeferTask {
        /// Import path of the trigger's class.
        classpath: String,
        /// Arguments of the trigger: an object, or a text which the client encrypted.
        #[serde(default)]
        trigger_kwargs: Option<Value>,
        /// How long to wait at most.
        #[serde(default)]
        trigger_timeout: Option<IsoDuration>,
        /// Queue of the triggerer.
        #[serde(default)]
        queue: Option<String>,
        /// Method of the operator to go on with.
        next_method: String,
        /// Arguments of that method.
        #[serde(default)]
        next_kwargs: Option<Object>,
        /// Label of the mapped task instance.
        #[serde(default)]
        rendered_map_index: Option<String>,
    }
    /// A sensor looks again later.
    RescheduleTask {
        /// When to look again.
        reschedule_date: DateTime<Utc>,
        /// When this look ended.
        end_date: DateTime<Utc>,
    }
    /// The task waits for a person.
    AwaitInputTask {
        /// How long to wait at most.
        #[serde(default)]
        timeout: Option<IsoDuration>,
        /// Method of the operator to go on with.
        next_method: String,
        /// Arguments of that method.
        #[serde(default)]
        next_kwargs: Option<Object>,
        /// Label of the mapped task instance.
        #[serde(default)]
        rendered_map_index: Option<String>,
    }
    /// Tasks of the same Dag run shall not run.
    SkipDownstreamTasks {
        /// Which ones.
        tasks: Vec<SkippedTask>,
    }

    // XCom.

    /// The value of one task instance.
    GetXCom {
        /// XCom key.
        key: String,
        /// Dag of the task.
        dag_id: String,
        /// Dag run of the task.
        run_id: String,
        /// Task that pushed.
        task_id: String,
        /// Index of a mapped task instance.
        #[serde(default)]
        map_index: Option<i32>,
        /// Whether values of earlier Dag runs count.
        #[serde(default)]
        include_prior_dates: bool,
    }
    /// How many task instances of a mapped task pushed a value.
    GetXComCount {
        /// XCom key.
        key: String,
        /// Dag of the task.
        dag_id: String,
        /// Dag run of the task.
        run_id: String,
        /// Task that pushed.
        task_id: String,
    }
    /// One value out of the sequence which a mapped task pushed.
    GetXComSequenceItem {
        /// XCom key.
        key: String,
        /// Dag of the task.
        dag_id: String,
        /// Dag run of the task.
        run_id: String,
        /// Task that pushed.
        task_id: String,
        /// Place in the sequence; negative counts from the end.
        offset: i64,
    }
    /// Part of the sequence which a mapped task pushed, with the meaning of a Python slice.
    GetXComSequenceSlice {
        /// XCom key.
        key: String,
        /// Dag of the task.
        dag_id: String,
        /// Dag run of the task.
        run_id: String,
        /// Task that pushed.
        task_id: String,
        /// First place.
        start: Option<i64>,
        /// Place after the last.
        stop: Option<i64>,
        /// Distance between places.
        step: Option<i64>,
        /// Whether values of earlier Dag runs count.
        #[serde(default)]
        include_prior_dates: bool,
    }
    /// Store a value.
    SetXCom {
        /// XCom key.
        key: String,
        /// The serialised value.
        value: Value,
        /// Dag of the task.
        dag_id: String,
        /// Dag run of the task.
        run_id: String,
        /// Task that pushes.
        task_id: String,
        /// Index of a mapped task instance.
        #[serde(default)]
        map_index: Option<i32>,
        /// Whether the value is the result of the Dag.
        #[serde(default)]
        dag_result: bool,
        /// Into how many task instances a downstream task expands over the value.
        #[serde(default)]
        mapped_length: Option<i32>,
    }
    /// Remove a value.
    DeleteXCom {
        /// XCom key.
        key: String,
        /// Dag of the task.
        dag_id: String,
        /// Dag run of the task.
        run_id: String,
        /// Task that pushed.
        task_id: String,
        /// Index of a mapped task instance.
        #[serde(default)]
        map_index: Option<i32>,
    }

    // Connections and Variables.

    /// A Connection with its secrets.
    GetConnection {
        /// Connection id.
        conn_id: String,
        /// Whether the secrets backend of workers alone is asked: Tradewind's own, sent by a class that stands for it.
        #[serde(default)]
        of_backend: bool,
    }
    /// The value of a Variable.
    GetVariable {
        /// Variable key.
        key: String,
        /// Whether the secrets backend of workers alone is asked: Tradewind's own, sent by a class that stands for it.
        #[serde(default)]
        of_backend: bool,
    }
    /// Keys of Variables, in order.
    GetVariableKeys {
        /// What the keys start with.
        #[serde(default)]
        prefix: Option<String>,
        /// How many at most.
        #[serde(default = "thousand")]
        limit: i64,
        /// How many to leave out.
        #[serde(default)]
        offset: i64,
    }
    /// Store a Variable.
    PutVariable {
        /// Variable key.
        key: String,
        /// Its value.
        value: Option<String>,
        /// What it is for.
        description: Option<String>,
    }
    /// Remove a Variable.
    DeleteVariable {
        /// Variable key.
        key: String,
    }
    /// Never show a value in logs.
    MaskSecret {
        /// The secret: a text or a structure with texts.
        value: Value,
        /// Name that decides whether the value is a secret.
        #[serde(default)]
        name: Option<String>,
    }

    // Facts about this attempt.

    /// The rendered template fields.
    SetRenderedFields {
        /// Field name to value.
        rendered_fields: Object,
    }
    /// The label of the mapped task instance.
    SetRenderedMapIndex {
        /// The label.
        rendered_map_index: String,
    }
    /// The log channel again, for a child that replaced its process image.
    ResendLoggingFD {}
    /// Which inlets and outlets of the task are not active.
    ValidateInletsAndOutlets {
        /// The asking task instance.
        ti_id: Uuid,
    }

    // Dag runs.

    /// Make a Dag run.
    TriggerDagRun {
        /// Dag to run.
        dag_id: String,
        /// Id of the new run.
        run_id: String,
        /// Its logical date.
        #[serde(default)]
        logical_date: Option<DateTime<Utc>>,
        /// When it may start.
        #[serde(default)]
        run_after: Option<DateTime<Utc>>,
        /// Its configuration.
        #[serde(default)]
        conf: Option<Object>,
        /// Whether to clear the run when it exists.
        #[serde(default)]
        reset_dag_run: Option<bool>,
        /// Its partition.
        #[serde(default)]
        partition_key: Option<String>,
        /// Its note.
        #[serde(default)]
        note: Option<String>,
    }
    /// One Dag run.
    GetDagRun {
        /// Dag.
        dag_id: String,
        /// Run of the Dag.
        run_id: String,
    }
    /// The state of a Dag run.
    GetDagRunState {
        /// Dag.
        dag_id: String,
        /// Run of the Dag.
        run_id: String,
    }
    /// The Dag run before a date.
    GetPreviousDagRun {
        /// Dag.
        dag_id: String,
        /// The date.
        logical_date: DateTime<Utc>,
        /// State it must have.
        #[serde(default)]
        state: Option<String>,
    }
    /// The last successful Dag run before the one of the asking task instance.
    GetPrevSuccessfulDagRun {
        /// The asking task instance.
        ti_id: Uuid,
    }
    /// How many Dag runs there are.
    GetDRCount {
        /// Dag.
        dag_id: String,
        /// Logical dates to count.
        #[serde(default)]
        logical_dates: Option<Vec<DateTime<Utc>>>,
        /// Runs to count.
        #[serde(default)]
        run_ids: Option<Vec<String>>,
        /// States to count.
        #[serde(default)]
        states: Option<Vec<String>>,
    }
    /// Facts about a Dag.
    GetDag {
        /// Dag.
        dag_id: String,
    }

    // Task instances.

    /// The task instance before a date.
    GetPreviousTI {
        /// Dag of the task.
        dag_id: String,
        /// Task.
        task_id: String,
        /// The date.
        #[serde(default)]
        logical_date: Option<DateTime<Utc>>,
        /// Index of a mapped task instance.
        #[serde(default = "unmapped")]
        map_index: i32,
        /// State it must have.
        #[serde(default)]
        state: Option<String>,
    }
    /// When the task instance was first rescheduled.
    GetTaskRescheduleStartDate {
        /// The task instance.
        ti_id: Uuid,
        /// Attempt of the task instance.
        #[serde(default = "one")]
        try_number: i32,
    }
    /// How many task instances there are.
    GetTICount {
        /// Dag of the tasks.
        dag_id: String,
        /// Index of a mapped task instance.
        #[serde(default)]
        map_index: Option<i32>,
        /// Tasks to count.
        #[serde(default)]
        task_ids: Option<Vec<String>>,
        /// Task group whose tasks to count.
        #[serde(default)]
        task_group_id: Option<String>,
        /// Logical dates to count.
        #[serde(default)]
        logical_dates: Option<Vec<DateTime<Utc>>>,
        /// Runs to count.
        #[serde(default)]
        run_ids: Option<Vec<String>>,
        /// States to count; `null` stands for no state.
        #[serde(default)]
        states: Option<Vec<String>>,
    }
    /// The states of task instances.
    GetTaskStates {
        /// Dag of the tasks.
        dag_id: String,
        /// Index of a mapped task instance.
        #[serde(default)]
        map_index: Option<i32>,
        /// Tasks to look at.
        #[serde(default)]
        task_ids: Option<Vec<String>>,
        /// Task group whose tasks to look at.
        #[serde(default)]
        task_group_id: Option<String>,
        /// Logical dates to look at.
        #[serde(default)]
        logical_dates: Option<Vec<DateTime<Utc>>>,
        /// Runs to look at.
        #[serde(default)]
        run_ids: Option<Vec<String>>,
    }
    /// The finished task instances of a Dag run.
    GetTaskBreadcrumbs {
        /// Dag.
        dag_id: String,
        /// Run of the Dag.
        run_id: String,
    }

    // Assets.

    /// The active asset with a name.
    GetAssetByName {
        /// Asset name.
        name: String,
    }
    /// The active asset with a URI.
    GetAssetByUri {
        /// Asset URI.
        uri: String,
    }
    /// The assets an alias resolved to.
    GetAssetsByAlias {
        /// Alias name.
        alias_name: String,
    }
    /// The events of an asset.
    GetAssetEventByAsset {
        /// Asset name.
        name: Option<String>,
        /// Asset URI.
        uri: Option<String>,
        /// Not before.
        #[serde(default)]
        after: Option<DateTime<Utc>>,
        /// Not after.
        #[serde(default)]
        before: Option<DateTime<Utc>>,
        /// How many at most.
        #[serde(default)]
        limit: Option<i64>,
        /// Whether the oldest comes first.
        #[serde(default = "yes")]
        ascending: bool,
    }
    /// The events that came through an alias.
    GetAssetEventByAssetAlias {
        /// Alias name.
        alias_name: String,
        /// Not before.
        #[serde(default)]
        after: Option<DateTime<Utc>>,
        /// Not after.
        #[serde(default)]
        before: Option<DateTime<Utc>>,
        /// How many at most.
        #[serde(default)]
        limit: Option<i64>,
        /// Whether the oldest comes first.
        #[serde(default = "yes")]
        ascending: bool,
    }

    // State stores.

    /// A value of the task's state store.
    GetTaskStateStore {
        /// The task instance.
        ti_id: Uuid,
        /// Key of the value.
        key: String,
    }
    /// Store a value for the task.
    SetTaskStateStore {
        /// The task instance.
        ti_id: Uuid,
        /// Key of the value.
        key: String,
        /// The value.
        value: Value,
        /// When it may be forgotten.
        expires_at: Option<DateTime<Utc>>,
    }
    /// Remove a value of the task.
    DeleteTaskStateStore {
        /// The task instance.
        ti_id: Uuid,
        /// Key of the value.
        key: String,
    }
    /// Remove all values of the task.
    ClearTaskStateStore {
        /// The task instance.
        ti_id: Uuid,
    }
    /// A value of an asset's state store.
    GetAssetStateStoreByName {
        /// Asset name.
        name: String,
        /// Key of the value.
        key: String,
    }
    /// A value of an asset's state store.
    GetAssetStateStoreByUri {
        /// Asset URI.
        uri: String,
        /// Key of the value.
        key: String,
    }
    /// Store a value for an asset.
    SetAssetStateStoreByName {
        /// Asset name.
        name: String,
        /// Key of the value.
        key: String,
        /// The value.
        value: Value,
    }
    /// Store a value for an asset.
    SetAssetStateStoreByUri {
        /// Asset URI.
        uri: String,
        /// Key of the value.
        key: String,
        /// The value.
        value: Value,
    }
    /// Remove a value of an asset.
    DeleteAssetStateStoreByName {
        /// Asset name.
        name: String,
        /// Key of the value.
        key: String,
    }
    /// Remove a value of an asset.
    DeleteAssetStateStoreByUri {
        /// Asset URI.
        uri: String,
        /// Key of the value.
        key: String,
    }
    /// Remove all values of an asset.
    ClearAssetStateStoreByName {
        /// Asset name.
        name: String,
    }
    /// Remove all values of an asset.
    ClearAssetStateStoreByUri {
        /// Asset URI.
        uri: String,
    }

    // Human in the loop.

    /// Ask a person.
    CreateHITLDetailPayload {
        /// The asking task instance.
        ti_id: Uuid,
        /// What can be answered.
        options: Vec<String>,
        /// The question.
        subject: String,
        /// More about it.
        #[serde(default)]
        body: Option<String>,
        /// Answer when nobody answers in time.
        #[serde(default)]
        defaults: Option<Vec<String>>,
        /// Whether several options may be chosen.
        #[serde(default)]
        multiple: Option<bool>,
        /// Params to fill in.
        #[serde(default)]
        params: Option<Object>,
        /// Who may answer.
        #[serde(default)]
        assigned_users: Option<Vec<HitlUser>>,
    }
    /// Answer in place of a person.
    UpdateHITLDetail {
        /// The asking task instance.
        ti_id: Uuid,
        /// Chosen options.
        chosen_options: Vec<String>,
        /// Params filled in.
        #[serde(default)]
        params_input: Option<Object>,
    }
    /// The answer so far.
    GetHITLDetailResponse {
        /// The asking task instance.
        ti_id: Uuid,
    }
}

/// Final states that [`TaskState`] can report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TerminalState {
    /// The attempt failed.
    Failed,
    /// The task chose to be skipped.
    Skipped,
    /// The task left the Dag.
    Removed,
}

/// An asset, a reference to one or an alias, by name or URI.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, serde::Serialize)]
pub struct AssetProfile {
    /// Name, except of a reference by URI.
    #[serde(default)]
    pub name: Option<String>,
    /// URI, except of a reference by name and of an alias.
    #[serde(default)]
    pub uri: Option<String>,
    /// `Asset`, `AssetNameRef`, `AssetUriRef` or `AssetAlias`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// What a task said about one outlet.
///
/// Source: `OutletEventAccessor` in `airflow/sdk/execution_time/context.py`, serialised by `_serialize_outlet_events`
/// of `task_runner.py`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct OutletEvent {
    /// The asset.
    pub dest_asset_key: AssetKey,
    /// Extra of the event.
    #[serde(default)]
    pub extra: Object,
    /// The alias it came through.
    #[serde(default)]
    pub source_alias_name: Option<String>,
    /// Extra of an asset which an alias creates.
    #[serde(default)]
    pub dest_asset_extra: Object,
    /// Partition of the event instead of the Dag run's.
    #[serde(default)]
    pub partition_key: Option<String>,
}

/// What identifies an asset.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
pub struct AssetKey {
    /// Name.
    pub name: String,
    /// URI.
    pub uri: String,
}

/// A task to skip: all of an unmapped one, or one task instance of a mapped one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum SkippedTask {
    /// Task id.
    Task(String),
    /// Task id and map index.
    Mapped(String, i32),
}

/// A user who may answer or has answered.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, serde::Serialize)]
pub struct HitlUser {
    /// User id.
    pub id: String,
    /// Name shown.
    pub name: String,
}

fn yes() -> bool {
    true
}

fn one() -> i32 {
    1
}

fn unmapped() -> i32 {
    -1
}

fn thousand() -> i64 {
    1000
}
