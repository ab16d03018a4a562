"""The official OpenAPI documents: which operations there are, what they take, and what their answers look like."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import yaml
from official import airflow_package

# Of these the official document says more than official Airflow keeps: it requires fields that answers leave out when they
# are null, or wants exactly one of two kinds of task instances where each that is one kind is the other, too.
LAX = {
    "GET /ui/dags",
    "GET /ui/grid/runs/{dag_id}",
    "GET /ui/grid/structure/{dag_id}",
    "POST /api/v2/dags/{dag_id}/clearDagRuns",
    "POST /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/clear",
}
# Answers of official Airflow that its document does not declare: operation, status and content type.
UNDECLARED = {
    ("DELETE /api/v2/dags/{dag_id}", 204, ""),
    ("GET /api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/wait", 200, ""),
}
DOCUMENTS = {"REST v2": "v2-rest-api-generated.yaml", "UI": "_private_ui.yaml"}


@dataclass
class Operation:
    api: str
    method: str
    template: str
    declared: dict
    document: dict

    @property
    def name(self) -> str:
        return f"{self.method} {self.template}"

    @cached_property
    def expression(self) -> re.Pattern:
        return re.compile(re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(self.template)) + "$")

    def parameters(self, place: str) -> list[dict]:
        return [parameter for parameter in self.declared.get("parameters", ()) if parameter["in"] == place]

    def schema_error(self, status: int, media_type: str, body) -> str | None:
        """Where an answer is not as the document says; only JSON is described there."""
        answers = self.declared["responses"].get(str(status), {}).get("content", {})
        schema = answers.get("application/json", {}).get("schema")
        if schema is None or media_type != "application/json":
            return None
        return first_error(schema | {"components": self.document["components"]}, body)

    def why_invalid(self, status: int, media_type: str, body, schema_error: str | None) -> str | None:
        """Why a successful answer breaks the document, apart from what official Airflow itself does not keep.
        `schema_error` is what there is without exceptions."""
        if not 200 <= status < 300:
            return None
        if (self.name, status, media_type) in UNDECLARED:
            return None
        declared = self.declared["responses"].get(str(status))
        if declared is None:
            return f"status {status} is not declared"
        content = declared.get("content", {})
        if not content or body == "":
            return f"a body is not declared for status {status}" if body else None
        if media_type not in content:
            return f"{media_type or 'no content type'} is not declared for status {status}"
        if media_type != "application/json" or self.name not in LAX:
            return schema_error
        schema = content[media_type].get("schema", {}) | {"components": self.document["components"]}
        return first_error(relaxed(schema), body)


def first_error(schema: dict, body) -> str | None:
    """The place of the first violation."""
    from jsonschema import Draft202012Validator

    error = next(Draft202012Validator(schema).iter_errors(body), None)
    return error.json_path if error else None


def may_be_null(schema: dict) -> bool:
    return any(kind.get("type") == "null" for kind in schema.get("anyOf", ()))


def relaxed(schema):
    """The schema without what `LAX` is about."""
    if isinstance(schema, list):
        return [relaxed(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    found = {("anyOf" if name == "oneOf" else name): relaxed(inner) for name, inner in schema.items()}
    properties = found.get("properties")
    if isinstance(found.get("required"), list) and isinstance(properties, dict):
        found["required"] = [name for name in found["required"] if not may_be_null(properties.get(name, {}))]
    return found


def operations() -> list[Operation]:
    """All operations of both documents, in their order."""
    folder = airflow_package() / "api_fastapi" / "core_api" / "openapi"
    found = []
    for api, name in DOCUMENTS.items():
        document = yaml.load((folder / name).read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        for template, methods in document["paths"].items():
            for method, declared in methods.items():
                if method in ("get", "post", "put", "patch", "delete"):
                    found.append(Operation(api, method.upper(), template, declared, document))
    return found


class Contract:
    def __init__(self):
        self.operations = operations()

    def find(self, method: str, path: str) -> Operation:
        """The operation of a request; of several templates that fit, the one with the fewest variables."""
        fitting = [
            operation
            for operation in self.operations
            if operation.method == method and operation.expression.match(path)
        ]
        if not fitting:
            raise LookupError(f"no operation {method} {path}")
        return min(fitting, key=lambda operation: operation.template.count("{"))
