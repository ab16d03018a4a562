"""The official OpenAPI documents: which operations there are, what they take, and what their answers look like."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import yaml
from official import airflow_package

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
        from jsonschema import Draft202012Validator

        answers = self.declared["responses"].get(str(status), {}).get("content", {})
        schema = answers.get("application/json", {}).get("schema")
        if schema is None or media_type != "application/json":
            return None
        validator = Draft202012Validator(schema | {"components": self.document["components"]})
        error = next(validator.iter_errors(body), None)
        return error.json_path if error else None


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
