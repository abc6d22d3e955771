"""Changes that are proposed in the form of a serving."""

from __future__ import annotations

from typing import Any

import pytest

from servedeck.changes.proposed_edit import propose_edit
from servedeck.serving.edit.differences import find_field_differences
from servedeck.serving.spec.spec import ServingSpec


def spec(**fields: Any) -> ServingSpec:
    values = {
        "name": "llama",
        "namespace": "chat",
        "template": "vllm",
        "image": "a:1",
        "settings": {"model": "m"},
        "startup_seconds": 600,
        **fields,
    }
    return ServingSpec(**values)


@pytest.mark.parametrize(
    "fields",
    [
        {"startup_path": "/startup"},
        {"description": "x"},
        {"objectives": "p95=2s"},
        {"cpu": "2", "cpu_limit": "4"},
        {"readiness_path": "/ready"},
        {"env": [{"name": "A", "value": "1"}]},
        {"volumes": [{"pvc": "a", "mount_path": "/a"}]},
        {"transformer": {"image": "t:1", "port": 9000, "env": [{"name": "A", "value": "1"}]}},
        {"settings": {"model": "m", "max_model_len": 4096}},
        {"accelerator": "nvidia.com/gpu", "accelerator_count": 2},
    ],
)
def test_a_value_is_proposed_where_there_was_none_and_none_where_there_was_one(
    fields: dict[str, Any],
) -> None:
    for current, wanted in ((spec(), spec(**fields)), (spec(**fields), spec())):
        found, issues = propose_edit(current, wanted).validate()
        assert found is not None, issues
        assert find_field_differences(wanted, found) == ()
