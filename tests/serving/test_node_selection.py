"""Which nodes a Pod may run on."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.serving.node_selection import may_run_on

LABELS = {"pool": "gpu", "cores": "8"}


def requires(*terms: dict[str, Any]) -> dict[str, Any]:
    key = "requiredDuringSchedulingIgnoredDuringExecution"
    return {"affinity": {"nodeAffinity": {key: {"nodeSelectorTerms": list(terms)}}}}


def entry(key: str, operator: str, *values: str, of: str = "matchExpressions") -> dict[str, Any]:
    return {of: [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("pod_spec", "expected"),
    [
        ({}, True),
        ({"nodeSelector": {"pool": "gpu"}}, True),
        ({"nodeSelector": {"pool": "cpu"}}, False),
        (requires(entry("pool", "In", "cpu", "gpu")), True),
        (requires(entry("pool", "In", "cpu")), False),
        (requires(entry("pool", "NotIn", "gpu")), False),
        (requires(entry("zone", "NotIn", "a")), True),
        (requires(entry("pool", "Exists")), True),
        (requires(entry("zone", "Exists")), False),
        (requires(entry("zone", "DoesNotExist")), True),
        (requires(entry("cores", "Gt", "7")), True),
        (requires(entry("cores", "Gt", "8")), False),
        (requires(entry("cores", "Lt", "8")), False),
        (requires(entry("pool", "Gt", "1")), False),
        (requires(entry("pool", "Unknown", "gpu")), False),
        (requires(entry("pool", "In", "cpu"), entry("cores", "In", "8")), True),
        (requires({}), False),
        (requires(entry("metadata.name", "In", "node-1", of="matchFields")), True),
        (requires(entry("metadata.name", "In", "node-2", of="matchFields")), False),
    ],
)
def test_the_selector_and_the_required_affinity(pod_spec: dict[str, Any], expected: bool) -> None:
    assert may_run_on(pod_spec, "node-1", LABELS) is expected
