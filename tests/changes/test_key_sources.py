"""Secrets and ConfigMaps to choose from, on the demo cluster."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from servedeck.changes.key_sources import KeySource, list_key_sources, list_keys
from servedeck.cluster.auth.kubeconfig import ConnectionOptions
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ClusterError
from servedeck.demo.cluster import DemoCluster

VALUE = base64.b64encode(b"hf_not_to_be_shown").decode()


@pytest.fixture
async def demo() -> AsyncIterator[DemoCluster]:
    async with DemoCluster(live=False) as cluster:
        yield cluster


async def open_as(demo: DemoCluster, context: str = "") -> Connection:
    return await Connection.open(ConnectionOptions(kubeconfig=(demo.kubeconfig,), context=context))


@pytest.fixture
async def connection(demo: DemoCluster) -> AsyncIterator[Connection]:
    opened = await open_as(demo)
    yield opened
    await opened.close()


async def create(connection: Connection, plural: str, name: str, **rest: Any) -> None:
    body = {"apiVersion": "v1", "metadata": {"name": name}, **rest}
    await connection.request("POST", f"/api/v1/namespaces/chat/{plural}", body=body)


async def test_secrets_are_listed_without_their_values_and_keys_by_name_alone(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {"token": VALUE, "refresh": VALUE}
    await create(connection, "secrets", "huggingface", kind="Secret", type="Opaque", data=data)
    await create(
        connection, "secrets", "a-release", kind="Secret", type="helm.sh/release.v1", data=data
    )
    bodies: list[bytes] = []
    request = connection.request

    async def record(*arguments: Any, **options: Any) -> Any:
        response = await request(*arguments, **options)
        bodies.append(response.body)
        return response

    monkeypatch.setattr(connection, "request", record)
    found = await list_key_sources(connection, "secret", "chat")
    assert KeySource("huggingface", "Opaque", 2) in found
    assert found[-1] == KeySource("a-release", "helm.sh/release.v1", 2)
    assert bodies
    assert not any(VALUE.encode() in body for body in bodies)
    assert await list_keys(connection, "secret", "chat", "huggingface") == ["refresh", "token"]


async def test_config_maps_have_no_type(connection: Connection) -> None:
    await create(
        connection,
        "configmaps",
        "flags",
        kind="ConfigMap",
        data={"level": "debug"},
        binaryData={"blob": VALUE},
    )
    assert KeySource("flags", "", 2) in await list_key_sources(connection, "config_map", "chat")
    assert await list_keys(connection, "config_map", "chat", "flags") == ["blob", "level"]


async def test_a_long_list_is_read_in_pages(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servedeck.changes.key_sources._PAGE_SIZE", 2)
    for number in range(5):
        await create(connection, "configmaps", f"flags-{number}", kind="ConfigMap", data={"a": "b"})
    names = [one.name for one in await list_key_sources(connection, "config_map", "chat")]
    assert [name for name in names if name.startswith("flags-")] == [
        f"flags-{number}" for number in range(5)
    ]


async def test_what_may_not_be_read_or_does_not_exist_is_one_sentence(
    demo: DemoCluster, connection: Connection
) -> None:
    viewer = await open_as(demo, "demo-viewer")
    try:
        with pytest.raises(ClusterError) as listed:
            await list_key_sources(viewer, "secret", "chat")
        with pytest.raises(ClusterError) as read:
            await list_keys(viewer, "secret", "chat", "huggingface")
    finally:
        await viewer.close()
    assert str(listed.value) == (
        "Secrets of namespace chat may not be listed: needs list on secrets. Type the name."
    )
    assert str(read.value) == (
        "The keys of Secret huggingface may not be read: needs get on secrets in namespace chat. "
        "Type the key."
    )
    with pytest.raises(ClusterError, match="Namespace chat has no Secret nothing"):
        await list_keys(connection, "secret", "chat", "nothing")


async def test_a_server_that_sends_objects_with_values_is_not_listed(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("servedeck.changes.key_sources._ACCEPT", {})
    with pytest.raises(ClusterError, match="without their values"):
        await list_key_sources(connection, "secret", "chat")
