"""Generates `servedeck/demo/api/schema.json` from a real API server's OpenAPI documents.

python -m tests.contract.schema_source http://127.0.0.1:8001    # behind `kubectl proxy`
"""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from servedeck.demo.api.schema import definition_name
from servedeck.demo.resources import RESOURCES

TARGET = Path(__file__).parents[2] / "servedeck/demo/api/schema.json"
LONGEST = 160
MORE = (
    "io.k8s.api.autoscaling.v1.Scale",
    "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
)


def paths() -> list[str]:
    """Paths of the OpenAPI documents that contain the demo's built-in kinds."""
    versions = {r.api_version for r in RESOURCES if r.builtin} | {"autoscaling/v1"}
    return sorted(f"apis/{v}" if "/" in v else f"api/{v}" for v in versions)


def collect(read: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """All definitions that the demo's kinds reference; `read` returns the document at a path."""
    schemas: dict[str, Any] = {}
    for path in paths():
        schemas.update(read(f"/openapi/v3/{path}")["components"]["schemas"])
    names = [definition_name(r) for r in RESOURCES if r.builtin]
    todo = [name for name in (*names, *MORE) if "apiextensions" not in name]
    reached: dict[str, Any] = {}
    while todo:
        name = todo.pop()
        if name not in reached:
            reached[name] = _shorten(schemas[name])
            todo.extend(_references(schemas[name]))
    return dict(sorted(reached.items()))


def write(reached: dict[str, Any]) -> str:
    """One definition per line, for readable diffs."""
    lines = (f"{json.dumps(k)}:{json.dumps(v, separators=(',', ':'))}" for k, v in reached.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(ref := value.get("$ref"), str):
            yield ref.rsplit("/", 1)[1]
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def _shorten(value: Any) -> Any:
    if isinstance(value, list):
        return [_shorten(item) for item in value]
    if not isinstance(value, dict):
        return value
    short = {key: _shorten(item) for key, item in value.items()}
    if isinstance(text := short.get("description"), str):
        short["description"] = re.split(r"(?<=\.)\s", text)[0][:LONGEST]
    return short


if __name__ == "__main__":
    base = sys.argv[1].rstrip("/")

    def fetch(path: str) -> dict[str, Any]:
        with urllib.request.urlopen(base + path) as answer:
            document: dict[str, Any] = json.load(answer)
            return document

    TARGET.write_text(write(collect(fetch)), encoding="utf-8")
