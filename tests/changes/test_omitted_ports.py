"""Ports that a document omits are those of the existing serving, for every check."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from servedeck.changes.plan import new_issues
from servedeck.cluster.apply import apply
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.commands.apply import apply_all
from servedeck.demo.cluster import DemoCluster
from servedeck.serving.objects import manifests
from servedeck.serving.objects.change import resolve_open_fields
from servedeck.serving.objects.import_objects import import_objects
from servedeck.serving.spec.issues import Issue
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.spec.validation import validate
from tests.changes.test_changes_on_demo import PLATFORM, make_spec
from tests.serving.objects.edits import deployment

WITH_8085 = {"image": "t", "port": 8085}


def issues_of(current: ServingSpec, **document: Any) -> list[tuple[str, str]]:
    """Severity and field of each issue of an edit; the document has no ports but those given."""
    objects = manifests.build_manifests(current, PLATFORM)
    existing = import_objects(objects)
    wanted = resolve_open_fields(
        existing, existing.spec.replace(**{"inference_port": None, **document})
    )
    return shown(new_issues(existing.spec, wanted, existing.mounts))


def shown(found: list[Issue]) -> list[tuple[str, str]]:
    return [(one.severity.value, one.field) for one in found if "port" in one.field]


TAKEN = [("error", "transformer.port")]


@pytest.mark.parametrize(
    ("present", "inference_port", "port", "expected"),
    [
        (None, None, 9000, TAKEN),
        (None, None, 8000, []),
        (None, None, None, []),
        (None, 8080, None, []),
        (None, 8000, 9000, []),
        (None, 8000, 8000, TAKEN),
        (WITH_8085, None, None, []),
        (WITH_8085, None, 9000, TAKEN),
        (WITH_8085, None, 8000, []),
        (WITH_8085, 8085, None, TAKEN),
        (WITH_8085, 8000, None, []),
        (WITH_8085, 8085, 9000, []),
    ],
)
def test_server_and_transformer_never_have_the_same_port(
    present: Any, inference_port: int | None, port: int | None, expected: list[tuple[str, str]]
) -> None:
    current = make_spec(inference_port=9000, transformer=present)
    wanted = {"image": "t", "port": port}
    assert issues_of(current, inference_port=inference_port, transformer=wanted) == expected


def test_an_omitted_port_of_a_new_serving_is_the_default() -> None:
    transformer = {"image": "t", "port": 8000}
    for template in ("vllm", "custom"):
        spec = ServingSpec(name="a", template=template, transformer=transformer)  # type: ignore[arg-type]
        assert ("error", "transformer.port") in shown(validate(spec))


def test_a_port_that_is_unknown_is_not_the_transformers() -> None:
    objects = deployment(
        {"name": "main", "image": "x"},
        {"name": "transformer", "image": "t", "ports": [{"containerPort": 8000}]},
    )
    existing = import_objects([objects])
    assert existing.spec.inference_port is None
    wanted = resolve_open_fields(existing, existing.spec)
    assert shown(new_issues(existing.spec, wanted, existing.mounts)) == []


# -- on the demo cluster ------------------------------------------------------------------------


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    async with DemoCluster(live=False) as demo:
        opened = await Connection.open(ConnectionOptions(kubeconfig=(demo.kubeconfig,)))
        try:
            yield opened
        finally:
            await opened.close()


async def run_apply(connection: Connection, *specs: ServingSpec) -> tuple[bool, list[str]]:
    lines: list[str] = []
    good = await apply_all(
        connection, specs, PLATFORM, dry_run=False, stdout=lines.append, stderr=lines.append
    )
    return good, lines


async def test_a_transformer_on_the_port_of_the_server_is_rejected_before_anything_is_applied(
    connection: Connection,
) -> None:
    spec = make_spec(inference_port=9000)
    await apply(connection, manifests.build_manifests(spec, PLATFORM))
    edited = spec.replace(inference_port=None, transformer={"image": "t:1", "port": 9000})
    good, lines = await run_apply(connection, make_spec(name="another"), edited)
    assert not good
    assert lines == [
        "error: fresh: spec.transformer.port: Port 9000 is the inference server's, and both share "
        "the Pod's address; choose another.",
        "error: No serving of the file was applied; correct the errors first.",
    ]


async def test_a_transformer_may_have_the_port_that_the_server_does_not_use(
    connection: Connection,
) -> None:
    spec = make_spec(inference_port=9000)
    await apply(connection, manifests.build_manifests(spec, PLATFORM))
    edited = spec.replace(inference_port=None, transformer={"image": "t:1", "port": 8000})
    good, lines = await run_apply(connection, edited)
    assert good, lines
    assert "deployment.apps/fresh configured" in lines
