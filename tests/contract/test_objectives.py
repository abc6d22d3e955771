"""The annotation of objectives outlives every other change of its serving."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.commands.apply import apply_all
from servedeck.commands.set import SetOptions, set_fields
from servedeck.serving.conventions import FIELD_MANAGER, OBJECTIVES_ANNOTATION
from servedeck.serving.edit.assignments import parse_assignment
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.document import from_yaml, to_yaml
from servedeck.serving.spec.spec import ServingSpec
from tests.contract.target import MERGE, Target

Json = dict[str, Any]
NAME = "llama"
OBJECTIVES = "p95=2s ttft=500ms errors=1%"


@pytest.fixture
def kubeconfig(target: Target, tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(target.backend.kubeconfig("admin")))
    return path


@contextlib.asynccontextmanager
async def connected(kubeconfig: Path) -> AsyncIterator[Connection]:
    connection = await Connection.open(ConnectionOptions(kubeconfig=(kubeconfig,)))
    try:
        yield connection
    finally:
        await connection.close()


def serving(ns: str, **fields: Any) -> ServingSpec:
    values = {
        "name": NAME,
        "namespace": ns,
        "template": "vllm",
        "image": "vllm/vllm-openai:v0.33.0",
        "replicas": 0,
        "settings": {"model": "org/model"},
    }
    return ServingSpec.model_validate(values | fields)


def apply(kubeconfig: Path, spec: ServingSpec) -> None:
    async def run() -> tuple[bool, list[str]]:
        errors: list[str] = []
        async with connected(kubeconfig) as connection:
            done = await apply_all(
                connection,
                [spec],
                PlatformSettings(),
                dry_run=False,
                stdout=lambda line: None,
                stderr=errors.append,
            )
        return done, errors

    done, errors = asyncio.run(run())
    assert done, errors


def set_field(kubeconfig: Path, ns: str, *texts: str) -> list[str]:
    """What `servedeck set` prints."""

    async def run() -> tuple[bool, list[str]]:
        lines: list[str] = []
        async with connected(kubeconfig) as connection:
            saved = await set_fields(
                connection,
                ns,
                NAME,
                [parse_assignment(one) for one in texts],
                SetOptions(assume_yes=True),
                stdout=lines.append,
                stderr=lines.append,
            )
        return saved, lines

    saved, lines = asyncio.run(run())
    assert saved, lines
    return lines


def live(target: Target, deployments: str) -> Json:
    found: Json = target.ok("GET", f"{deployments}/{NAME}")
    return found


def annotation(target: Target, deployments: str) -> object:
    return live(target, deployments)["metadata"].get("annotations", {}).get(OBJECTIVES_ANNOTATION)


def test_objectives_are_set_without_a_rollout_and_every_other_change_keeps_them(
    target: Target, kubeconfig: Path, deployments: str, ns: str
) -> None:
    apply(kubeconfig, serving(ns))
    before = live(target, deployments)
    lines = set_field(kubeconfig, ns, f"objectives={OBJECTIVES}")
    assert f"  objectives: none -> {OBJECTIVES}" in lines
    after = live(target, deployments)
    assert annotation(target, deployments) == OBJECTIVES
    assert after["spec"] == before["spec"]
    managers = {
        one["manager"]
        for one in after["metadata"]["managedFields"]
        if OBJECTIVES_ANNOTATION in json.dumps(one["fieldsV1"])
    }
    assert managers == {FIELD_MANAGER}
    set_field(kubeconfig, ns, "image=vllm/vllm-openai:v0.34.0", "description=changed")
    assert annotation(target, deployments) == OBJECTIVES
    set_field(kubeconfig, ns, "objectives=")
    assert annotation(target, deployments) is None


def test_a_document_has_the_objectives_and_brings_them_back(
    target: Target, kubeconfig: Path, deployments: str, ns: str
) -> None:
    apply(kubeconfig, serving(ns, objectives=OBJECTIVES))
    assert annotation(target, deployments) == OBJECTIVES
    exported = to_yaml(import_objects([live(target, deployments)]).spec)
    assert f"objectives: {OBJECTIVES}" in exported
    set_field(kubeconfig, ns, "objectives=p95=9s")
    apply(kubeconfig, from_yaml(exported))
    assert annotation(target, deployments) == OBJECTIVES


def test_a_document_without_objectives_removes_them_as_it_does_a_description(
    target: Target, kubeconfig: Path, deployments: str, ns: str
) -> None:
    apply(kubeconfig, serving(ns, objectives=OBJECTIVES, description="chat"))
    apply(kubeconfig, serving(ns))
    annotations = live(target, deployments)["metadata"].get("annotations", {})
    assert [one for one in annotations if one.startswith("servedeck.dev/")] == []


def test_what_kubectl_wrote_is_kept_and_changed(
    target: Target, kubeconfig: Path, deployments: str, ns: str
) -> None:
    apply(kubeconfig, serving(ns))
    body = {"metadata": {"annotations": {OBJECTIVES_ANNOTATION: "p95=fast x=1"}}}
    target.ok("PATCH", f"{deployments}/{NAME}", body, content_type=MERGE)
    set_field(kubeconfig, ns, "image=vllm/vllm-openai:v0.34.0")
    assert annotation(target, deployments) == "p95=fast x=1"
