//! Bulk requests: lists of create, update and delete actions, and their results.

mod entity;

pub(crate) use entity::{BulkEntity, patch_many};

use crate::body::Body;
use crate::error::{ApiError, ApiResult, Problem};
use serde::Serialize;
use serde_json::{Value, json};

/// What is done to entities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// New entities.
    Create,
    /// Changes to existing ones.
    Update,
    /// Removal.
    Delete,
}

impl Operation {
    /// Its name in requests.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// What to do when an entity is there already, or is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnConflict {
    /// Report an error for the whole action.
    Fail,
    /// Leave that entity out.
    Skip,
    /// Replace it.
    Overwrite,
}

/// One action of a bulk request.
#[derive(Debug)]
pub(crate) struct BulkAction {
    pub(crate) operation: Operation,
    pub(crate) entities: Vec<Value>,
    pub(crate) update_mask: Vec<String>,
    pub(crate) on_conflict: OnConflict,
}

/// The results of the actions of one kind.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Outcome {
    success: Vec<String>,
    errors: Vec<Value>,
}

impl Outcome {
    /// Notes an entity that was dealt with.
    pub(crate) fn succeed(&mut self, key: impl Into<String>) {
        self.success.push(key.into());
    }

    /// Notes what went wrong.
    pub(crate) fn fail(&mut self, error: &ApiError) {
        let text = match error.detail() {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        self.errors.push(json!({"error": text, "status_code": error.status().as_u16()}));
    }
}

/// The answer to a bulk request; kinds that were not asked for are null.
#[derive(Debug, Default, Serialize)]
pub(crate) struct BulkResponse {
    create: Option<Outcome>,
    update: Option<Outcome>,
    delete: Option<Outcome>,
}

impl BulkResponse {
    /// The results of a kind.
    pub(crate) fn outcome(&mut self, operation: Operation) -> &mut Outcome {
        let outcome = match operation {
            Operation::Create => &mut self.create,
            Operation::Update => &mut self.update,
            Operation::Delete => &mut self.delete,
        };
        outcome.get_or_insert_default()
    }
}

/// Reads the actions of a bulk request.
fn actions(body: &mut Body) -> ApiResult<Vec<BulkAction>> {
    body.require("actions");
    body.refuse_null("actions", "list_type", "Input should be a valid list");
    let actions = body.optional_list("actions").unwrap_or_default();
    body.finish()?;
    actions.into_iter().enumerate().map(|(index, action)| parse(index, action)).collect()
}

/// Reads all actions with their entities, each by `read` from its value and its place; what is wrong anywhere refuses the
/// request.
pub(crate) fn actions_with<T>(
    body: &mut Body,
    read: impl Fn(&BulkAction, Value, Vec<Value>) -> ApiResult<T>,
) -> ApiResult<Vec<(BulkAction, Vec<T>)>> {
    let mut found = Vec::new();
    let mut refusal: Option<ApiError> = None;
    for (index, mut action) in actions(body)?.into_iter().enumerate() {
        let mut entities = Vec::new();
        for (position, entity) in std::mem::take(&mut action.entities).into_iter().enumerate() {
            let kind = action.operation.name();
            let place =
                vec!["body".into(), "actions".into(), index.into(), kind.into(), "entities".into(), position.into()];
            match read(&action, entity, place) {
                Ok(entity) => entities.push(entity),
                Err(error) => {
                    refusal = Some(match refusal {
                        Some(earlier) => earlier.and(error),
                        None => error,
                    });
                }
            }
        }
        found.push((action, entities));
    }
    refusal.map_or(Ok(found), Err)
}

const KINDS: [&str; 3] = ["create", "update", "delete"];

fn parse(index: usize, action: Value) -> ApiResult<BulkAction> {
    let mut place = vec!["body".into(), "actions".into(), index.into()];
    // The kind of an action is part of the place of its other fields.
    let kind = action.get("action").and_then(Value::as_str).filter(|kind| KINDS.contains(kind));
    place.extend(kind.map(Value::from));
    let mut action = Body::from_value(action, place)?;
    let kind = action.optional_word("action", &KINDS);
    action.require("entities");
    action.refuse_null("entities", "list_type", "Input should be a valid list");
    let entities = action.optional_list("entities").unwrap_or_default();
    let (operation, policy, words): (_, _, &[&str]) = match kind.as_deref() {
        Some("update") => (Operation::Update, "action_on_non_existence", &["fail", "skip"]),
        Some("delete") => (Operation::Delete, "action_on_non_existence", &["fail", "skip"]),
        _ => (Operation::Create, "action_on_existence", &["fail", "skip", "overwrite"]),
    };
    let on_conflict = match action.word_or(policy, words, "fail").as_str() {
        "skip" => OnConflict::Skip,
        "overwrite" => OnConflict::Overwrite,
        _ => OnConflict::Fail,
    };
    let mask = if operation == Operation::Update { action.optional_texts("update_mask") } else { None };
    if kind.is_none() {
        action.require("action");
    }
    action.finish()?;
    Ok(BulkAction { operation, entities, update_mask: mask.unwrap_or_default(), on_conflict })
}

/// Refuses a path parameter that must be the wildcard.
pub(crate) fn require_wildcard(name: &str, value: &str) -> ApiResult<()> {
    if value == "~" {
        return Ok(());
    }
    let problem = Problem::new("literal_error", &["path", name], "Input should be '~'", value);
    Err(ApiError::validation(vec![problem.context(json!({"expected": "'~'"}))]))
}
