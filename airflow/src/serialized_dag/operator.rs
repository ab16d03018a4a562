//! Tasks. Source: `OperatorSerialization.populate_operator`.

use serde_json::Value;
use tradewind_model::dag::{StartTrigger, Task, WeightRule};
use tradewind_model::trigger_rule::TriggerRule;

use crate::python_json;

use super::reader::Reader;
use super::{SerializedDagError, expand_input};

/// Where a field of a task is looked for: what a mapped task passes to its operator, the task itself, and what
/// the writer's defaults are where they differ from the format's.
struct Fields<'a> {
    own: &'a Reader<'a>,
    partial: Option<Reader<'a>>,
    defaults: Option<&'a Reader<'a>>,
}

impl<'a> Fields<'a> {
    fn get(&'a self, name: &'a str) -> Option<Reader<'a>> {
        self.partial
            .as_ref()
            .and_then(|partial| partial.get(name))
            .or_else(|| self.own.get(name))
            .or_else(|| self.defaults.and_then(|defaults| defaults.get(name)))
    }

    fn read<T>(
        &'a self,
        name: &'a str,
        default: T,
        read: impl Fn(&Reader<'a>) -> Result<T, SerializedDagError>,
    ) -> Result<T, SerializedDagError> {
        self.get(name).map_or(Ok(default), |field| read(&field))
    }

    fn text(&'a self, name: &'a str, default: String) -> Result<String, SerializedDagError> {
        self.read(name, default, |field| field.text().map(str::to_owned))
    }

    fn optional_text(&'a self, name: &'a str) -> Result<Option<String>, SerializedDagError> {
        self.read(name, None, |field| field.text().map(|text| Some(text.to_owned())))
    }

    fn truth(&'a self, name: &'a str, default: bool) -> Result<bool, SerializedDagError> {
        self.read(name, default, Reader::truth)
    }

    fn integer(&'a self, name: &'a str, default: i32) -> Result<i32, SerializedDagError> {
        self.read(name, default, Reader::integer)
    }

    fn optional_integer(&'a self, name: &'a str) -> Result<Option<i32>, SerializedDagError> {
        self.read(name, None, |field| field.integer().map(Some))
    }

    /// Whether a callback exists; older documents name it without `has_`, with the callback's text.
    fn callback(&'a self, name: &'a str) -> Result<bool, SerializedDagError> {
        match self.get(name) {
            Some(flag) => flag.truth(),
            None => Ok(self.get(&name["has_".len()..]).is_some_and(|old| python_json::is_truthy(old.value()))),
        }
    }

    fn count(&'a self, names: [&'a str; 2]) -> Result<usize, SerializedDagError> {
        let Some(list) = names.into_iter().find_map(|name| self.get(name)) else { return Ok(0) };
        Ok(list.items()?.count())
    }
}

pub(super) fn read(own: &Reader<'_>, defaults: Option<&Reader<'_>>) -> Result<Task, SerializedDagError> {
    let is_mapped = own.get("_is_mapped").is_some_and(|flag| python_json::is_truthy(flag.value()));
    let partial = if is_mapped { own.get("partial_kwargs") } else { None };
    let fields = Fields { own, partial, defaults };
    let base = Task::new(own.require("task_id")?.text()?);
    let own_flag = |name| own.get(name).is_some_and(|flag| python_json::is_truthy(flag.value()));
    Ok(Task {
        display_name: display_name(&fields)?,
        task_type: fields.text("task_type", base.task_type)?,
        operator_name: fields.optional_text("_operator_name")?,
        owner: fields.text("owner", base.owner)?,
        downstream_task_ids: downstream_task_ids(own)?,
        trigger_rule: fields.read("trigger_rule", base.trigger_rule, trigger_rule)?,
        is_setup: fields.truth("is_setup", false)?,
        is_teardown: fields.truth("is_teardown", false)?,
        on_failure_fail_dagrun: fields.truth("on_failure_fail_dagrun", false)?,
        depends_on_past: fields.truth("depends_on_past", false)?,
        wait_for_downstream: fields.truth("wait_for_downstream", false)?,
        ignore_first_depends_on_past: fields.truth("ignore_first_depends_on_past", false)?,
        wait_for_past_depends_before_skipping: fields.truth("wait_for_past_depends_before_skipping", false)?,
        retries: fields.integer("retries", base.retries)?,
        retry_delay: fields.get("retry_delay").map_or(Ok(base.retry_delay), |field| field.seconds())?,
        retry_exponential_backoff: fields.read("retry_exponential_backoff", 0.0, backoff)?,
        max_retry_delay: fields.get("max_retry_delay").map(|field| field.seconds()).transpose()?,
        pool: fields.text("pool", base.pool)?,
        pool_slots: fields.integer("pool_slots", base.pool_slots)?,
        queue: fields.text("queue", base.queue)?,
        executor: fields.optional_text("executor")?,
        executor_config: fields.get("executor_config").map(|field| Box::new(field.value().clone())),
        priority_weight: fields.integer("priority_weight", base.priority_weight)?,
        weight_rule: fields.read("weight_rule", base.weight_rule, weight_rule)?,
        max_active_tis_per_dag: fields.optional_integer("max_active_tis_per_dag")?,
        max_active_tis_per_dagrun: fields.optional_integer("max_active_tis_per_dagrun")?,
        execution_timeout: fields.get("execution_timeout").map(|field| field.seconds()).transpose()?,
        start_date: own.get("start_date").map(|field| field.date()).transpose()?,
        end_date: own.get("end_date").map(|field| field.date()).transpose()?,
        run_as_user: fields.optional_text("run_as_user")?,
        is_empty: own_flag("_is_empty"),
        can_skip_downstream: own_flag("_can_skip_downstream"),
        is_sensor: own_flag("_is_sensor"),
        reschedule: own_flag("reschedule"),
        has_on_execute_callback: fields.callback("has_on_execute_callback")?,
        has_on_failure_callback: fields.callback("has_on_failure_callback")?,
        has_on_retry_callback: fields.callback("has_on_retry_callback")?,
        has_on_success_callback: fields.callback("has_on_success_callback")?,
        has_on_skipped_callback: fields.callback("has_on_skipped_callback")?,
        inlets: fields.count(["inlets", "_inlets"])?,
        outlets: fields.count(["outlets", "_outlets"])?,
        start_trigger: start_trigger(own)?,
        expand_input: if is_mapped { Some(expanded_over(own)?) } else { None },
        map_index_template: fields.optional_text("map_index_template")?,
        email: fields.get("email").map(|field| Box::new(field.value().clone())),
        email_on_failure: fields.truth("email_on_failure", true)?,
        email_on_retry: fields.truth("email_on_retry", true)?,
        task_id: base.task_id,
        group: base.group,
    })
}

fn display_name(fields: &Fields<'_>) -> Result<Option<String>, SerializedDagError> {
    Ok(fields.optional_text("_task_display_name")?.or(fields.optional_text("task_display_name")?))
}

fn downstream_task_ids(own: &Reader<'_>) -> Result<Vec<String>, SerializedDagError> {
    let list = own.get("downstream_task_ids").or_else(|| own.get("_downstream_task_ids"));
    list.map_or(Ok(Vec::new()), |list| list.texts())
}

fn expanded_over(own: &Reader<'_>) -> Result<tradewind_model::mapping::ExpandInput, SerializedDagError> {
    let attribute = own.require("_expand_input_attr")?.text()?;
    expand_input::read(&own.require(attribute)?)
}

fn trigger_rule(field: &Reader<'_>) -> Result<TriggerRule, SerializedDagError> {
    TriggerRule::parse(field.text()?).ok_or_else(|| field.expected("a trigger rule"))
}

fn weight_rule(field: &Reader<'_>) -> Result<WeightRule, SerializedDagError> {
    const MODULE: &str = "airflow.task.priority_strategy.";
    let name = field.text()?;
    Ok(match name.strip_prefix(MODULE).unwrap_or(name) {
        "downstream" | "_DownstreamPriorityWeightStrategy" => WeightRule::Downstream,
        "upstream" | "_UpstreamPriorityWeightStrategy" => WeightRule::Upstream,
        "absolute" | "_AbsolutePriorityWeightStrategy" => WeightRule::Absolute,
        _ => WeightRule::Custom(name.to_owned()),
    })
}

/// A factor; in older Dag files only whether the wait doubles.
fn backoff(field: &Reader<'_>) -> Result<f64, SerializedDagError> {
    match field.value() {
        Value::Bool(doubles) => Ok(if *doubles { 2.0 } else { 0.0 }),
        _ => field.number(),
    }
}

/// Source: `TaskInstance.start_trigger_args`: the arguments alone do not make the task start with its trigger.
fn start_trigger(own: &Reader<'_>) -> Result<Option<Box<StartTrigger>>, SerializedDagError> {
    let starts = own.get("start_from_trigger").map_or(Ok(false), |flag| flag.truth())?;
    let Some(args) = own.get("start_trigger_args").filter(|_| starts) else { return Ok(None) };
    Ok(Some(Box::new(StartTrigger {
        trigger_cls: args.require("trigger_cls")?.text()?.to_owned(),
        trigger_kwargs: args.get("trigger_kwargs").map(|field| field.value().clone()),
        next_method: args.require("next_method")?.text()?.to_owned(),
        next_kwargs: args.get("next_kwargs").map(|field| field.value().clone()),
        timeout: args.get("timeout").map(|field| field.seconds()).transpose()?,
    })))
}
