"""Credentials, permissions and kinds that the cluster does not serve."""

from __future__ import annotations

import pytest

from servedeck.cluster.http.connection import Connection
from servedeck.cluster.watch.kinds import HTTP_ROUTES
from servedeck.cluster.watch.reflector import ReflectorConfig, ReflectorPhase
from tests.cluster.fake_api_server import (
    FakeApiServer,
    make_pod,
    respond_with_status,
)
from tests.cluster.watch.reflector_harness import add_pods, run_reflector
from tests.waiting import wait_until


@pytest.mark.parametrize("where", ["list", "watch"])
async def test_a_401_is_retried_with_renewed_credentials(
    api: FakeApiServer, connection: Connection, where: str
) -> None:
    await add_pods(api)
    api.faults[where] = [respond_with_status(401, "Unauthorized")]
    async with run_reflector(connection) as watched:
        await watched.wait_for_phase(ReflectorPhase.UNAUTHORIZED)
        await watched.wait_until_equal(api)


async def test_a_401_is_tried_again_within_seconds_at_first(
    api: FakeApiServer, connection: Connection, pauses: list[float]
) -> None:
    api.faults["list"] = [respond_with_status(401, "Unauthorized")] * 9
    async with run_reflector(connection, timings=ReflectorConfig()) as watched:
        await watched.wait_until_equal(api)
    assert [pauses[number] <= 2 * 0.8 * 2**number for number in range(5)] == [True] * 5
    assert sum(pauses[:4]) < 30 <= pauses[8] <= 60


@pytest.mark.parametrize(("where", "verb"), [("list", "list"), ("watch", "watch")])
async def test_403_names_verb_and_resource(
    api: FakeApiServer, connection: Connection, where: str, verb: str
) -> None:
    await add_pods(api)
    api.faults[where] = [respond_with_status(403, "Forbidden")] * 4
    async with run_reflector(connection) as watched:
        state = await watched.wait_for_phase(ReflectorPhase.FORBIDDEN)
        assert state.error == (
            f"Cannot {verb} pods in all namespaces: needs list and watch on pods."
        )
        assert state.record_count == (0 if verb == "list" else 3), (
            "data stays where it may be listed"
        )
        await wait_until(lambda: not api.faults[where])
        await watched.wait_until_equal(api)


async def test_revoked_permissions_remove_the_data(
    api: FakeApiServer, connection: Connection
) -> None:
    await add_pods(api)
    async with run_reflector(connection) as watched:
        await watched.wait_until_equal(api)
        await watched.wait_until_watching(api)
        api.faults = {
            "list": [respond_with_status(403, "Forbidden")] * 100_000,
            "watch": [respond_with_status(403, "Forbidden")] * 100_000,
            "other": [],
        }
        await api.reset_watches()
        await wait_until(lambda: not watched.reflector.records)
        assert watched.replica.records == {}
        assert watched.reflector.phase is ReflectorPhase.FORBIDDEN
        assert "list" in watched.reflector.error


async def test_forbidden_names_the_one_namespace(connection: Connection) -> None:
    async with run_reflector(connection, namespace="team-a") as watched:
        watched.reflector.connection = connection
        await wait_until(lambda: watched.reflector.phase is not ReflectorPhase.CONNECTING)
        sentence = watched.reflector._missing_permission("watch")
    assert sentence == "Cannot watch pods in namespace team-a: needs list and watch on pods."


async def test_missing_kind_is_probed_and_older_versions_tried(
    connection: Connection, api: FakeApiServer
) -> None:
    api.path = HTTP_ROUTES.list_path(None, "v1beta1")
    fault = respond_with_status(404, "NotFound", "the server could not find the requested resource")
    api.faults["list"] = [fault, fault]
    await api.put(make_pod("route"))
    async with run_reflector(connection, HTTP_ROUTES) as watched:
        assert (await watched.wait_for_phase(ReflectorPhase.MISSING)).error == (
            "The cluster has no httproutes.gateway.networking.k8s.io."
        )
        await watched.wait_until_equal(api)
        assert api.requests[-1].path == api.path
        assert api.requests[0].path == HTTP_ROUTES.list_path(None)
