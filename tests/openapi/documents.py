"""The OpenAPI documents of the installed official package: that of REST v2, and that of the UI's own API."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from exceptions import amend_public, amend_ui

WORKSPACE = Path(__file__).resolve().parents[2]
METHODS = ("get", "post", "put", "patch", "delete")


def load() -> list[dict]:
    """Both documents, amended where they do not describe what official Airflow answers."""
    folder = next(WORKSPACE.glob(".venv/lib/python3*/site-packages/airflow/api_fastapi/core_api/openapi"))
    amendments = {"v2-rest-api-generated.yaml": amend_public, "_private_ui.yaml": amend_ui}
    documents = []
    for name, amend in amendments.items():
        document = yaml.load((folder / name).read_text(), yaml.CSafeLoader)
        amend(document)
        documents.append(document)
    return documents


@dataclass(frozen=True)
class Operation:
    """One operation of a document."""

    document: dict
    method: str
    template: str

    @property
    def name(self) -> str:
        return f"{self.method.upper()} {self.template}"

    @property
    def definition(self) -> dict:
        return self.document["paths"][self.template][self.method]

    def parameters(self, place: str) -> list[dict]:
        """Its parameters in `path`, `query` or `header`."""
        return [parameter for parameter in self.definition.get("parameters", ()) if parameter["in"] == place]

    def body(self) -> dict | None:
        """The schema of its JSON body, if it has one."""
        content = self.definition.get("requestBody", {}).get("content", {})
        return content.get("application/json", {}).get("schema")

    def resolved(self, schema: dict) -> dict:
        """The schema that a reference stands for."""
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        return schema


def operations() -> Iterator[Operation]:
    """Every operation of both documents: first those that only read, last those that delete."""
    found = []
    for document in load():
        for template, item in document["paths"].items():
            found += [Operation(document, method, template) for method in METHODS if method in item]
    return iter(sorted(found, key=lambda operation: order(operation.method, operation.template)))


def order(method: str, template: str) -> int:
    """What reads goes first, and what deletes last; the log-out ends the session of whoever calls it."""
    return (METHODS.index(method.lower()) + 1) * 2 + template.endswith("/auth/logout")
