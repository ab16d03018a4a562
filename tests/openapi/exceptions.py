"""Where the official documents do not describe what official Airflow answers; all of it was seen on its API server."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Schemas of answers that official Airflow sends without what is null (`response_model_exclude_none`), though they
#: require it.
WITHOUT_NULLS = (
    "DAGRunLightResponse",
    "DAGWithLatestDagRunsResponse",
    "DagVersionResponse",
    "GridNodeResponse",
    "GridRunsResponse",
    "HITLDetail",
    "TaskInstanceResponse",
)


def amend_ui(document: dict) -> None:
    """Requires no nullable field of answers that leave out what is null."""
    schemas = document["components"]["schemas"]
    for name in WITHOUT_NULLS:
        schema = schemas.get(name, {})
        properties = schema.get("properties", {})
        nullable = {name for name, kind in properties.items() if {"type": "null"} in kind.get("anyOf", ())}
        schema["required"] = [name for name in schema.get("required", ()) if name not in nullable]


def amend_public(document: dict) -> None:
    """A task instance is also a valid `NewTaskResponse`, so that it can never be one of the two alone."""
    items = document["components"]["schemas"]["ClearTaskInstanceCollectionResponse"]["properties"]["task_instances"]
    items["items"]["anyOf"] = items["items"].pop("oneOf")


@dataclass(frozen=True)
class Undescribed:
    """Answers that official Airflow gives and its documents do not describe."""

    reason: str
    status: int
    #: What the body must be like.
    body: str
    #: What the operation must be like.
    operation: str = ""

    def fits(self, operation: str, status: int, body: str) -> bool:
        return (
            status == self.status
            and re.search(self.operation, operation) is not None
            and re.search(self.body, body, re.DOTALL) is not None
        )


UNDESCRIBED = (
    Undescribed("order_by with a name that is none", 400, r'"detail": ?"Ordering with '),
    Undescribed("a time that cannot be read", 400, r'"detail": ?"Invalid datetime: '),
    Undescribed("an id that is no number", 400, "must be an integer", "^GET /api/v2/eventLogs/"),
    Undescribed("a body that cannot be decoded", 400, "There was an error parsing the body"),
    Undescribed("a refusal in words where the document knows lists of problems", 422, r'"detail": ?"'),
    Undescribed("a list of problems where the document knows words", 422, r'"detail": ?\[', "enqueue-test$"),
    Undescribed("what the database refuses", 422, "Value rejected by database"),
    Undescribed("a row that exists already", 409, "Unique constraint violation"),
    Undescribed("a list of words for a task instance that is missing", 404, r'"detail": ?\["The Task Instance with'),
    Undescribed("a token that does not belong to a log", 400, "Bad Signature", "/logs/{try_number}$"),
    Undescribed("an answer without a body", 204, "^$", "^DELETE /api/v2/dags/{dag_id}$"),
    Undescribed("a redirect without a body", 307, "^$", "^GET /api/v2/auth/log(in|out)$"),
    Undescribed("a stream without a content type", 200, r'^{"state": ', "/wait$"),
    Undescribed("something that does not exist", 404, '"detail"', "^GET /ui/(calendar|next_run_assets|pending_)"),
    Undescribed("no teams", 403, "Multi-team mode is not configured", "^GET /ui/teams$"),
)  # fmt: skip


def reason_of(operation: str, status: int, body: str) -> str | None:
    """Why an answer that breaks the document is right all the same; none: it is not."""
    for answer in UNDESCRIBED:
        if answer.fits(operation, status, body):
            return answer.reason
    return None
