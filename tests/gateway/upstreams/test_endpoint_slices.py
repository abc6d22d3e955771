"""Which Pods are Ready, by the EndpointSlices that a scripted API server has."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.watch.reflector import ReflectorConfig
from servedeck.gateway.upstreams.endpoint_slices import (
    EndpointSlice,
    WatchedUpstreams,
    ready_pods,
    service_port_name,
)
from servedeck.serving.objects.records import Service
from tests.cluster.fake_api_server import (
    FakeApiServer,
    bind_port,
    open_connection,
    respond_with_status,
    serve,
    write_kubeconfig,
)
from tests.waiting import wait_until

PATH = "/apis/discovery.k8s.io/v1/namespaces/team/endpointslices"
FAST = ReflectorConfig(
    retry_delay=(0.05, 0.1),
    unavailable_delay=(0.1, 0.2),
    unauthorized_delay=(0.1, 0.2),
    watch_read_timeout=3.0,
)


def endpoint(name: str, address: str, **conditions: Any) -> dict[str, Any]:
    return {
        "addresses": [address],
        "conditions": conditions,
        "targetRef": {"kind": "Pod", "name": name, "namespace": "team"},
    }


def slice_of(
    name: str, *endpoints: dict[str, Any], ports: Any = ..., family: str = "IPv4"
) -> dict[str, Any]:
    if ports is ...:
        ports = [{"name": "http", "port": 8000, "protocol": "TCP"}]
    return {
        "metadata": {"name": name, "namespace": "team", "uid": f"uid-{name}"},
        "addressType": family,
        "endpoints": list(endpoints),
        "ports": ports,
    }


def ready(*slices: dict[str, Any], port: str = "http") -> dict[str, str]:
    return ready_pods([msgspec.convert(one, EndpointSlice) for one in slices], port)


def test_only_ready_pods_count() -> None:
    assert ready(
        slice_of(
            "one",
            endpoint("a", "10.0.0.1", ready=True, serving=True, terminating=False),
            endpoint("b", "10.0.0.2", ready=False),
            endpoint("c", "10.0.0.3", ready=True, terminating=True),
            endpoint("d", "10.0.0.4"),  # unknown counts as Ready
            {"addresses": ["10.0.0.5"], "conditions": None, "targetRef": None},
            {"addresses": [], "targetRef": {"kind": "Pod", "name": "f"}},
            endpoint("g", "g.example.com", ready=True),
        )
    ) == {
        "a": "http://10.0.0.1:8000",
        "d": "http://10.0.0.4:8000",
        "10.0.0.5": "http://10.0.0.5:8000",
    }


def test_a_pod_counts_once() -> None:
    four = slice_of("four", endpoint("a", "10.0.0.1"), endpoint("b", "10.0.0.2", ready=False))
    moved = slice_of("moved", endpoint("a", "10.0.0.1"), endpoint("b", "10.0.0.2", ready=True))
    six = slice_of("six", endpoint("a", "fd00::1"), endpoint("c", "FD00:0::3"), family="IPv6")
    expected = {
        "a": "http://10.0.0.1:8000",
        "b": "http://10.0.0.2:8000",
        "c": "http://[fd00::3]:8000",
    }
    for order in ((four, moved, six), (six, moved, four)):
        assert ready(*order) == expected


def test_ports() -> None:
    pod = endpoint("a", "10.0.0.1")
    ports = [
        {"name": "metrics", "port": 9000},
        {"name": "http", "port": 5, "protocol": "UDP"},
        {"name": "http", "port": 8000},
    ]
    assert ready(slice_of("one", pod, ports=ports)) == {"a": "http://10.0.0.1:8000"}
    assert ready(slice_of("one", pod, ports=ports), port="other") == {}
    assert ready(slice_of("one", pod, ports=[{"port": 1}]), port="") == {"a": "http://10.0.0.1:1"}
    assert ready(slice_of("one", pod, ports=None)) == {}
    assert ready(slice_of("one", pod, ports=[{"name": "http", "port": None}])) == {}
    assert ready({"metadata": {}, "endpoints": None, "ports": None}) == {}


def test_a_number_is_that_of_the_service() -> None:
    ports = [{"name": "http", "port": 80}, {"name": "x", "port": 81, "protocol": "UDP"}]
    services = [msgspec.convert({"spec": {"ports": ports}}, Service)]
    assert service_port_name(services, 80) == "http"
    assert service_port_name(services, 81) is None
    assert (
        service_port_name([msgspec.convert({"spec": {"ports": [{"port": 8}]}}, Service)], 8) == ""
    )


@pytest.mark.parametrize("service", ["", "llama:http", "team/llama", "team/:http", "a/b/c:http"])
def test_other_settings_are_refused(service: str) -> None:
    with pytest.raises(ValueError, match="namespace/name:port"):
        WatchedUpstreams(service)


# -- watching -----------------------------------------------------------------------------------


@asynccontextmanager
async def watching(open_: Callable[[], Awaitable[Connection]]) -> AsyncIterator[WatchedUpstreams]:
    upstreams = WatchedUpstreams("team/llama:http", open_connection=open_, config=FAST)
    running = asyncio.create_task(upstreams.run())
    try:
        yield upstreams
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def opener(tmp_path: Path, url: str) -> Callable[[], Awaitable[Connection]]:
    file = write_kubeconfig(tmp_path / "config", url, {"token": "secret"})
    return lambda: open_connection(file)


async def test_changes_are_followed(tmp_path: Path) -> None:
    api = FakeApiServer(PATH)
    async with serve(api):
        async with watching(opener(tmp_path, api.url)) as upstreams:
            assert upstreams.problem
            await wait_until(
                lambda: upstreams.problem == "No Pod of the Service team/llama is Ready."
            )
            changes: list[dict[str, str]] = []
            upstreams.on_change(lambda: changes.append(dict(upstreams.ready)))
            await api.put(slice_of("one", endpoint("a", "10.0.0.1", ready=False)))
            await api.put(slice_of("one", endpoint("a", "10.0.0.1", ready=True)))
            await wait_until(lambda: upstreams.ready)
            assert upstreams.problem == ""
            await api.put(slice_of("two", endpoint("b", "10.0.0.2", ready=True)))
            await wait_until(lambda: len(upstreams.ready) == 2)
            await api.delete("one")
            await wait_until(lambda: len(upstreams.ready) == 1)
            await api.delete("two")
            await wait_until(lambda: not upstreams.ready)
            assert [sorted(one) for one in changes] == [["a"], ["a", "b"], ["b"], []]
        lists = [one for one in api.requests if one.path == PATH]
        assert lists[0].query["labelSelector"] == "kubernetes.io/service-name=llama"


async def test_what_is_known_stays_while_the_api_server_is_away(tmp_path: Path) -> None:
    api = FakeApiServer(PATH)
    await api.put(slice_of("one", endpoint("a", "10.0.0.1", ready=True)))
    held = bind_port()
    port = held.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    async with watching(opener(tmp_path, url)) as upstreams:
        await wait_until(lambda: "127.0.0.1" in upstreams.problem)
        async with serve(api, held=held):
            await wait_until(lambda: upstreams.ready and not upstreams.problem)
        await wait_until(lambda: upstreams.problem)
        assert upstreams.ready == {"a": "http://10.0.0.1:8000"}


async def test_a_refusal_says_which_permission_is_missing(tmp_path: Path) -> None:
    api = FakeApiServer(PATH)
    await api.put(slice_of("one", endpoint("a", "10.0.0.1", ready=True)))
    refusal = respond_with_status(403, "Forbidden", "no")
    async with serve(api), watching(opener(tmp_path, api.url)) as upstreams:
        await wait_until(lambda: upstreams.ready)
        api.faults["list"] += [refusal] * 100
        api.faults["watch"] += [refusal] * 100
        await api.reset_watches()
        await wait_until(lambda: not upstreams.ready)
        assert "needs list and watch on endpointslices.discovery.k8s.io" in upstreams.problem
        assert "namespace team" in upstreams.problem
        api.faults["list"].clear()
        api.faults["watch"].clear()
        await wait_until(lambda: upstreams.ready and not upstreams.problem)


async def test_a_service_without_pods_has_no_wrong_port(tmp_path: Path) -> None:
    api = FakeApiServer(PATH)
    await api.put(slice_of("one", ports=None))
    async with serve(api), watching(opener(tmp_path, api.url)) as upstreams:
        await wait_until(lambda: "No Pod of the Service team/llama" in upstreams.problem)


async def test_a_port_that_no_slice_has_is_said(tmp_path: Path) -> None:
    api = FakeApiServer(PATH)
    await api.put(slice_of("one", endpoint("a", "10.0.0.1"), ports=[{"name": "x", "port": 1}]))
    async with serve(api), watching(opener(tmp_path, api.url)) as upstreams:
        await wait_until(lambda: "have no port http" in upstreams.problem)
        assert not upstreams.ready
