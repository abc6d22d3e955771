from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from servedeck.commands import printers
from servedeck.fleet import view_json
from servedeck.fleet.views import ContainerView, EventView, NamespacedName
from servedeck.serving.status.status import Status
from servedeck.serving.text import cell_width
from tests.fleet.factories import START, pod_view, serving_view

GUIDE_PATH = Path(__file__).parents[2] / "docs" / "get.md"
EVENT_VIEW = EventView(START, "Warning", "BackOff", "Back-off restarting", 3)
FULL_VIEW = serving_view(
    status=Status.ERROR,
    reason="OOMKilled",
    labels={"app": "chat"},
    events=(EVENT_VIEW,),
    pods=(
        pod_view(
            last_finished_at=START,
            containers=(ContainerView("main", "Running", True, 1, False, True, "cri://1"),),
            events=(EVENT_VIEW,),
        ),
    ),
)
JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "time": (str, type(None)),
}


def documented_fields() -> dict[str, str]:
    """Fields and types from the table in the guide."""
    section = GUIDE_PATH.read_text().split("A `Serving` has:")[1]
    rows = re.findall(r"^\| `([^`]+)` \| (\w+) \|", section, re.MULTILINE)
    assert rows
    return dict(rows)


def iter_fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if path:
        yield path, value
    if isinstance(value, dict) and path != "labels":
        for key, inner in value.items():
            yield from iter_fields(inner, f"{path}.{key}".lstrip("."))
    if isinstance(value, list):
        for inner in value:
            for below, found in iter_fields(inner, ""):
                yield f"{path}[].{below}", found


def test_the_json_has_exactly_the_documented_fields_and_types() -> None:
    table = documented_fields()
    found = dict(iter_fields(json.loads(json.dumps(view_json.serving_json(FULL_VIEW)))))
    assert found.keys() == table.keys()
    for path, value in found.items():
        assert type(value) in JSON_TYPES[table[path]], path


def test_times_are_written_as_kubernetes_writes_them() -> None:
    assert view_json.serving_json(FULL_VIEW)["created"] == "2026-01-01T00:00:00Z"
    assert view_json.serving_json(serving_view(created=None))["created"] is None


def test_a_list_names_its_version() -> None:
    listed = view_json.serving_list_json([FULL_VIEW])
    assert (listed["apiVersion"], listed["kind"]) == ("servedeck.dev/v1", "ServingList")
    assert listed["items"][0]["kind"] == "Serving"


def table_lines(*views: Any, wide: bool = False, namespaces: bool = False) -> list[str]:
    table = printers.TablePrinter(wide=wide, with_namespace=namespaces)
    rows = [table.row_cells(view, START + timedelta(hours=3)) for view in views]
    return table.format_rows(rows, header=True)


def test_columns_are_aligned_by_cells_whatever_stands_in_them() -> None:
    lines = table_lines(
        serving_view("a/short", reason="日本語"),
        serving_view("a/a-much-longer-name", template="vllm"),
        wide=True,
        namespaces=True,
    )
    for column in ("NAME ", "STATUS", "READY", "AGE"):
        start = lines[0].index(column)
        for line in lines[1:]:
            before = next(
                text for end in range(len(line)) if cell_width(text := line[:end]) == start
            )
            assert before.endswith("   ")
    assert "<none>" in lines[1] and "3h" in lines[1]


def test_a_cell_is_one_line_and_not_endless() -> None:
    lines = table_lines(serving_view(reason="a\nb" + "x" * 500))
    assert len(lines) == 2
    assert "a bx" in lines[1] and "…" in lines[1] and len(lines[1]) < 250


@pytest.mark.parametrize(("wide", "namespaces"), [(False, False), (True, True)])
def test_which_columns_there_are(wide: bool, namespaces: bool) -> None:
    header = table_lines(wide=wide, namespaces=namespaces)[0]
    assert ("NAMESPACE" in header) is namespaces
    assert ("ENDPOINT" in header) is wide
    assert "REASON" in header


def test_rows_that_come_later_stay_in_their_columns() -> None:
    table = printers.TablePrinter(wide=False, with_namespace=False)
    first = table.format_rows([table.row_cells(serving_view("a/long-name"), START)], header=True)
    later = table.format_rows([table.row_cells(serving_view("a/x"), START)], header=False)
    assert later[0].index("Ready") == first[0].index("STATUS")


def test_the_kind_is_a_column_only_if_one_is_no_deployment() -> None:
    deployment = serving_view()
    key = NamespacedName("team-a", "llama", "StatefulSet")
    stateful = serving_view(key=key)
    without = printers.TablePrinter(wide=False, with_namespace=False)
    assert "KIND" not in without.columns
    assert without.row_cells(stateful, START)[0] == "llama (StatefulSet)"
    assert without.row_cells(deployment, START)[0] == "llama"
    table = printers.TablePrinter(wide=True, with_namespace=True, with_kind=True)
    cells = dict(zip(table.columns, table.row_cells(stateful, START), strict=True))
    assert (cells["NAME"], cells["KIND"]) == ("llama", "StatefulSet")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Deployment", "deployment.apps/llama"),
        ("StatefulSet", "statefulset.apps/llama"),
        ("LeaderWorkerSet", "leaderworkerset.leaderworkerset.x-k8s.io/llama"),
        ("InferenceService", "inferenceservice.serving.kserve.io/llama"),
        ("Pod", "pod/llama"),
    ],
)
def test_the_name_and_the_json_have_the_kind(kind: str, name: str) -> None:
    view = serving_view(key=NamespacedName("team-a", "llama", kind))
    assert printers.resource_name(view) == name
    assert view_json.serving_json(view)["workloadKind"] == kind
