"""Export and re-apply of the demo's own servings, as on any cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from servedeck.changes.live_objects import fetch_live_objects
from servedeck.changes.platform_settings import load_platform_settings
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.commands.apply import apply_all
from servedeck.commands.export import export_serving
from servedeck.config import Settings
from servedeck.demo.cluster import DemoCluster
from servedeck.demo.scenario.servings import SERVINGS, DemoServing
from servedeck.serving.conventions import MANAGED_BY_LABEL, MODEL_CACHE_PATH
from servedeck.serving.spec.document import from_yaml
from servedeck.serving.spec.mapping.system_volumes import cache_env

MANAGED = [serving for serving in SERVINGS if serving.managed]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def connection() -> AsyncIterator[Connection]:
    async with DemoCluster(live=False) as demo:
        opened = await Connection.open(ConnectionOptions(kubeconfig=(demo.kubeconfig,)))
        yield opened
        await opened.close()


async def reapply(
    connection: Connection,
    serving: DemoServing,
    *replacements: tuple[str, str],
    dry_run: bool = True,
) -> list[str]:
    """Exports a serving and applies the YAML after `replacements` (old text, new text). Returns
    the output line of each object."""
    text = (await export_serving(connection, *serving.key)).yaml
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    lines: list[str] = []
    complaints: list[str] = []
    good = await apply_all(
        connection,
        [from_yaml(text)],
        await load_platform_settings(connection, Settings()),
        dry_run=dry_run,
        stdout=lines.append,
        stderr=complaints.append,
    )
    assert good, complaints
    return lines


@pytest.mark.parametrize("serving", MANAGED, ids=lambda one: "/".join(one.key))
@pytest.mark.asyncio(loop_scope="module")
async def test_a_serving_of_the_demo_stays_as_it_is_when_its_export_is_applied(
    connection: Connection, serving: DemoServing
) -> None:
    lines = await reapply(connection, serving)
    assert {line.partition(" ")[2] for line in lines} == {"unchanged (server dry run)"}
    kinds = [line.partition("/")[0].partition(".")[0] for line in lines]
    assert kinds[:3] == ["deployment", "service", "httproute"]


@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_taken_out_of_the_document_is_taken_out_of_the_serving(
    connection: Connection,
) -> None:
    serving = next(one for one in MANAGED if one.uses_hf_token)
    text = (await export_serving(connection, *serving.key)).yaml
    variables = text[text.index("  env:") :]
    await reapply(connection, serving, (variables, ""), dry_run=False)
    [deployment, *_] = (await fetch_live_objects(connection, *serving.key)).objects
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert [one["name"] for one in container["env"]] == list(cache_env(MODEL_CACHE_PATH))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_foreign_serving_of_the_demo_is_reported_as_unmanaged(
    connection: Connection,
) -> None:
    for serving in SERVINGS:
        [deployment, *_] = (await fetch_live_objects(connection, *serving.key)).objects
        assert (MANAGED_BY_LABEL in deployment["metadata"]["labels"]) == serving.managed
